"""A model behind a server that takes messages and tells no probabilities: llama.cpp, Ollama, hosted APIs.

The server draws the choice itself, from a structured output where it knows one; else the model writes, and is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar

from icrl.models.base import Answer, Query
from icrl.models.requests import Malformed, Send, request
from icrl.models.steering import SteeringVector
from icrl.models.transcript import Transcript, messages, plain
from icrl.models.wire import Wire

T = TypeVar("T")
Form = Literal["structured_outputs", "json_schema", "written"]
SEEDS = (1 << 31) - 1
ROOM = 16
"""Tokens that stand around a label in a structured answer, at most; a label itself has no more than characters."""
_WORDS = ("qzxv", "wbkj")
"""That no model writes unless it must."""


@dataclass(frozen=True)
class Hosted:
    """A served model behind the seam of `icrl.models.base`; it is not exact.

    Args:
        name: Of the model, as its servers call it.
        wire: Its servers.
        form: How it is made to choose; `written`: it is asked only.
    """

    name: str
    wire: Wire = field(repr=False)
    form: Form
    tokenizer: Transcript = field(default_factory=Transcript)
    window: int = 1 << 40
    """Not known: the server refuses what is too long."""

    @property
    def exact(self) -> bool:
        """Never."""
        return False

    @property
    def facts(self) -> dict[str, str]:
        """What a run records; of such a server's weights nothing is known."""
        return {"model": self.name, "revision": "unknown", "dtype": "as served", "choice": self.form}

    def adapted(self, adapter: str) -> Hosted:
        """Such servers name a model with an adapter like any other.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"adapter: {self.name} is not served by vLLM; name the adapted model as server.model")

    def check_steering(self, vector: SteeringVector) -> None:
        """Such servers let nobody change activations.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"steering: {self.name} is not served by vLLM, so it cannot be steered; serve a model by `icrl serve MODEL "
            "--steering DIR`, or load it here"
        )

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """Answers a batch: one request each.

        Raises:
            ValueError: A server refuses, or a prompt is too long for it.
            ServerLost: No server answers.
        """
        return self.wire.send([(q.key, self._asked(q)) for q in queries])

    def _asked(self, query: Query) -> Send[Answer]:
        words = [self.tokenizer.decode(choice[:-1]) for choice in query.choices or ()]
        room = max([query.limit, *(ROOM + len(word) for word in words)])
        told: dict[str, Any] = {"messages": messages(self.tokenizer.decode(query.ids.tolist()))}
        told |= {"max_tokens": room, "temperature": query.temperature, "seed": query.seed & SEEDS}
        told |= {"stop": [query.stop]} if query.stop else {}
        form: Form = self.form if words else "written"
        return choosing(self.name, form, words, told, partial(_answer, form=form, words=words))


def choosing(
    model: str, form: Form, words: Sequence[str], told: Mapping[str, Any], read: Callable[[Any], T]
) -> Send[T]:
    """A request for one of some words, or for a text."""
    one = {"type": "string", "enum": list(words)}
    schema = {"type": "object", "properties": {"choice": one}, "required": ["choice"]}
    strict = {"name": "choice", "strict": True, "schema": schema | {"additionalProperties": False}}
    extra: dict[Form, dict[str, Any]] = {
        "structured_outputs": {"structured_outputs": {"choice": list(words)}},
        "json_schema": {"response_format": {"type": "json_schema", "json_schema": strict}},
        "written": {},
    }
    return request("/chat/completions", {"model": model, **told, **extra[form]}, read)


def open_model(wire: Wire, model: str) -> Hosted:
    """A model of such a server, and how it can be made to choose."""
    told = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16, "temperature": 1.0}
    forms: tuple[Form, ...] = ("structured_outputs", "json_schema")
    return Hosted(model, wire, next((form for form in forms if _chooses(wire, model, form, told)), "written"))


def _chooses(wire: Wire, model: str, form: Form, told: Mapping[str, Any]) -> bool:
    """Whether a server keeps to the words: some ignore what they do not know, some refuse it."""

    def kept(body: Any) -> bool:
        try:
            return bool(_answer(body, form, _WORDS))
        except Malformed:
            return False

    try:
        return wire.send([(0, choosing(model, form, _WORDS, told, kept))])[0]
    except ValueError:
        return False


def _answer(body: Any, form: Form, words: Sequence[str]) -> Answer:
    """What a server wrote; of a structured output, the word."""
    try:
        (choice,) = body["choices"]
        text = plain(str(choice["message"]["content"] or ""))
        used = body.get("usage") or {}
        cached = _count((used.get("prompt_tokens_details") or {}).get("cached_tokens"))
        read = _count(used.get("prompt_tokens"))
        usage = (read - min(cached, read), min(cached, read), _count(used.get("completion_tokens")))
        cut, refused = (choice.get("finish_reason") == why for why in ("length", "content_filter"))
        if form == "json_schema" and not (cut or refused):
            text = plain(str(json.loads(text)["choice"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"no answer in it ({error!r})") from error
    if form != "written" and text not in words:
        if not (cut or refused):
            raise Malformed(f"{text[:40]!r} is none of the labels")
        text = ""  # the beginning of one label may be another
    return Answer(usage, ids=tuple(map(ord, text)), cut=cut)


def _count(told: Any) -> int:
    """A number of tokens; 0 for whatever is none."""
    return told if isinstance(told, int) and 0 <= told < 1 << 40 else 0
