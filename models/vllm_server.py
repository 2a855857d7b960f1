"""A model on one or several vLLM servers, with the exact policy.

Prompts are sent as token ids. Prompts that want the log-probabilities of named tokens share requests; each text has a
request of its own, since it has a seed of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import openai

from icrl.models import adapters, vllm_http
from icrl.models.adapters import Adapter
from icrl.models.base import Answer, Query, Tokens, fits, written
from icrl.models.connect import cards, find
from icrl.models.points import Point, Share, answers, points, shares, texting
from icrl.models.remembered import Remembered
from icrl.models.requests import Send, request
from icrl.models.steering import Steer, SteeringVector
from icrl.models.vllm_keys import told
from icrl.models.weights import digest, hashes, tokenizer_of
from icrl.models.wire import Wire

T = TypeVar("T")


class Home(NamedTuple):
    """What the prompts of one request have in common: their server, and the keys that steer them."""

    url: str
    keys: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class VLLMServer:
    """A served model behind the seam of `icrl.models.base`.

    Args:
        name: Of the model, as its servers call it.
        wire: Its servers.
        tokenizer: Its tokenizer, read here.
        window: Most tokens of a prompt and its answer.
        revision: A hash of its weights where they can be read here, else what the server says of their origin.
        base: The model without adapters, if this one has any.
        loaded: An adapter that the servers were told to load, and must be told again if they start anew.
        read: The prompts that were sent.
    """

    name: str
    wire: Wire = field(repr=False)
    tokenizer: Any
    window: int
    revision: str
    base: str = ""
    loaded: Adapter | None = None
    read: Remembered = field(default_factory=Remembered, repr=False)

    @property
    def exact(self) -> bool:
        """Always."""
        return True

    @property
    def facts(self) -> dict[str, str]:
        """What a run records; where its servers stand is no part of what a model is."""
        own = {"model": self.base or self.name, "revision": self.revision, "dtype": "as served by vLLM"}
        return own | hashes(self.tokenizer)

    def adapted(self, adapter: str) -> VLLMServer:
        """The model with an adapter that its servers have by that name, or load from that folder, which they must see.

        Raises:
            ValueError: They can not.
        """
        if self.base:
            raise ValueError(f"adapter: {self.name} is one already; {adapter!r} is to be added to {self.base}")
        wires = [replace(self.wire, servers=[server]) for server in self.wire.servers]
        told = [cards(wire) for wire in wires]
        if any(adapter == card["id"] for own in told for card in own):
            found = [find(own, adapter, wire.servers[0].url) for wire, own in zip(wires, told, strict=True)]
            if odd := [card for card in found if not card.get("parent") or origin(card) != origin(found[0])]:
                raise ValueError(f"adapter: {adapter!r} is no adapter, or another one on each server: {odd[0]}")
            return self._with(adapter, origin(found[0]))
        local = adapters.read(adapter)
        for wire in wires:
            wire.send([(0, partial(vllm_http.load_adapter, adapter=local))])
        return replace(self._with(local.name, local.name), loaded=local)

    def _with(self, name: str, revision: str) -> VLLMServer:
        whole = f"{self.revision}+{revision}"
        return replace(self, name=name, revision=whole, base=self.name, read=Remembered())

    def check_steering(self, vector: SteeringVector) -> None:
        """Raises ValueError unless all servers steer by this vector; that it fits the model was seen to there."""
        for server in self.wire.servers:
            (known,) = replace(self.wire, servers=[server]).send([(0, vllm_http.vectors)])
            if vector.digest not in known:
                has = ", ".join(f"{name} ({digest})" for digest, name in known.items()) or "none"
                raise ValueError(
                    f"steering: {server.url} does not steer by the vector {vector.digest}, but by {has}; save the "
                    "vector as a .safetensors file in a folder DIR, and start it by `icrl serve MODEL --steering DIR`"
                )

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """Answers a batch.

        Raises:
            ValueError: A prompt does not fit into the window, or a server refuses.
            ServerLost: No server answers.
        """
        fits(queries, self)
        return self._write(queries) if queries[0].choices is None else self._score(queries)

    def _score(self, queries: Sequence[Query]) -> list[Answer]:
        asked = points(queries)

        def home(point: Point) -> Home:
            query = queries[point.row]
            return Home(self.wire.home(query.key).url, tuple(told(query.steer, len(point.ids)).items()))

        packed = list(shares(asked, home))
        jobs = [(queries[asked[s.points[0]].row].key, self._named(asked, s)) for s in packed]
        found: dict[int, Mapping[int, float]] = {}
        for share, own in zip(packed, self.wire.send(jobs), strict=True):
            found |= zip(share.points, own, strict=True)
        again = [self._again(queries[p.row].key, p.ids, queries[p.row].steer) for p in asked]
        return answers(queries, asked, [found[i] for i in range(len(asked))], again)

    def _again(self, key: object, ids: Tokens, steer: Steer | None) -> int:
        """What of a prompt the conversation's server should hold; another server holds nothing of it."""
        return self.read.again((key, self.wire.home(key).url), ids, steer)

    def _named(self, asked: Sequence[Point], share: Share[Home]) -> Send[list[dict[int, float]]]:
        """A request for the log-probabilities of tokens, and how its answer is read."""
        body = vllm_http.naming(self.name, [asked[i].ids.tolist() for i in share.points], share.tokens)
        read = partial(vllm_http.told, tokens=[asked[i].tokens for i in share.points])
        return self._sent(body, dict(share.home.keys), read)

    def _sent(self, body: dict[str, Any], keys: Mapping[str, Any], read: Callable[[Any], T]) -> Send[T]:
        """A request, steered by `keys`; a server that has started anew is told first to load the adapter."""
        plain = request(vllm_http.path(keys), body | vllm_http.steering(keys), read)

        async def send(client: openai.AsyncOpenAI) -> T:
            try:
                return await plain(client)
            except openai.NotFoundError:
                if self.loaded is None:
                    raise
                await vllm_http.load_adapter(client, self.loaded)
                return await plain(client)

        return send

    def _write(self, queries: Sequence[Query]) -> list[Answer]:
        texts = self.wire.send([(q.key, self._text(q)) for q in queries])
        found = []
        for q, (ids, cut, cached) in zip(queries, texts, strict=True):
            again = self._again(q.key, q.ids, q.steer)
            found.append(written(q, ids, again if cached is None else min(cached, len(q.ids)), cut))
        return found

    def _text(self, query: Query) -> Send[tuple[tuple[int, ...], bool, int | None]]:
        """A request for a text."""
        body = {"model": self.name, "prompt": query.ids.tolist(), "return_token_ids": True}
        return self._sent(body | texting(query), told(query.steer, len(query.ids)), vllm_http.ids)


def open_model(
    wire: Wire, card: Mapping[str, Any], revision: str | None, chat_template: str | Path | None
) -> VLLMServer:
    """A model that vLLM serves; its tokenizer is read from where the server read it, unless the settings name another.

    Raises:
        ValueError: The tokenizer cannot be read here.
    """
    where = wire.settings.tokenizer or str(card.get("root") or card["id"])
    try:
        tokenizer = tokenizer_of(where, revision, chat_template)
    except ValueError as error:
        raise ValueError(
            f"server.tokenizer: the server has {card['id']!r} from {where}, which cannot be read here; name a folder "
            f"or a hub name with the same tokenizer ({error})"
        ) from error
    window = card.get("max_model_len") or tokenizer.model_max_length
    return VLLMServer(str(card["id"]), wire, tokenizer, int(window), origin(card))


def origin(card: Mapping[str, Any]) -> str:
    """A hash of the weights of a served model or adapter, if they stand on this machine; else where they are from."""
    root = str(card.get("root") or card["id"])
    weights = sorted(Path(root).expanduser().glob("*.safetensors"))
    settings = [path for path in [Path(root).expanduser() / adapters.CONFIG] if path.is_file()]
    return digest([*settings, *weights]) if weights else root


def tells(wire: Wire, model: str) -> bool:
    """Whether a server gives the log-probabilities of tokens that are named."""
    body = vllm_http.naming(model, [[3]], (1, 2))
    try:
        return wire.send([(0, request("/completions", body, vllm_http.is_told))])[0]
    except ValueError:  # it has no such address, or takes no tokens
        return False
