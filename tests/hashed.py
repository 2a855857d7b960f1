"""A language model that is a hash: what the servers of tests say, as a function of the request.

`logprob` is the whole model: tests compute from it what they expect.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any

POCKET = str(files("icrl.models") / "pocket")
VOCABULARY = 2680
END = 4
"""Pocket's end of a turn, the last of its special tokens."""


def scores(model: str, ids: Iterable[int], tokens: Iterable[int]) -> dict[int, float]:
    """Log-probability of each of `tokens` after `ids`; together they do not make 1."""
    prompt = blake2b(model.encode() + b"|" + array("q", ids).tobytes(), digest_size=8)
    found = {}
    for token in tokens:
        own = prompt.copy()
        own.update(b"|%d" % token)
        found[int(token)] = -6 * int.from_bytes(own.digest(), "big") / 2**64 - math.log(VOCABULARY) - 1
    return found


def logprob(model: str, ids: Iterable[int], token: int) -> float:
    """The log-probability that a server gives a token; `model` is the first of its names or that of an adapter."""
    return scores(model, ids, [token])[int(token)]


def unit(*parts: object) -> float:
    """A number in [0, 1) that is a hash of `parts`."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=6).digest(), "big") / 2**48


def pick(options: Sequence[Any], *parts: object) -> Any:
    return options[int(unit(*parts) * len(options))]


def luck(body: dict[str, Any]) -> Any:
    """What tells two answers to the same question apart."""
    return None if body.get("temperature") == 0 else body.get("seed")


@cache
def spelling() -> dict[int, str]:
    """How each token reads."""
    known = json.loads((Path(POCKET) / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return {token: text.replace("Ġ", " ").replace("Ċ", "\n") for text, token in known.items()}


@cache
def words() -> tuple[int, ...]:
    """The tokens that texts are made of."""
    spoken = re.findall(r"[^,]+", " the, best, which, one, machine, reward, know, item, button, red, yellow,\n,Answer:")
    return tuple(token for token, text in spelling().items() if text in spoken)


def generate(model: str, ids: list[int], body: dict[str, Any], limit: int) -> tuple[list[int], str, Any, str]:
    """Tokens, their text, what stopped them, and "stop" or "length".

    As in vLLM, a token that stops stays among the tokens; its text, and that of a stop string, only on demand.
    """
    until, kept = body.get("stop_token_ids") or [], body.get("include_stop_str_in_output", False)
    tokens: list[int] = []
    text = ""
    while len(tokens) < limit:
        where = (model, ids, luck(body), len(tokens))
        ends = unit("ends", *where) < 0.125
        token = until[0] if until and ends else pick(words(), "word", *where)
        tokens.append(token)
        if token not in until or kept:
            special = token <= END and body.get("skip_special_tokens", True)
            text += "" if special else spelling()[token]
        text, stop = cut(text, body.get("stop"), kept)
        if stop is not None or token in until:
            return tokens, text, stop if stop is not None or token == END else token, "stop"
    return tokens, text, None, "length"


def cut(text: str, stop: str | list[str] | None, kept: bool = False) -> tuple[str, str | None]:
    """A text until the stop string that is complete first, and which one it is."""
    strings = [stop] if isinstance(stop, str) else stop or []
    ends = [(text.find(s) + len(s), s) for s in strings if s in text]
    if not ends:
        return text, None
    end, found = min(ends)
    return text[: end if kept else end - len(found)], found


def structured(form: str | None, body: dict[str, Any], *parts: object) -> str | None:
    """One of the choices that a chat is bound to, in the one `form` that the server knows."""
    if form == "structured_outputs":
        options = (body.get(form) or {}).get("choice")
    elif form == "grammar":
        options = [json.loads(x) for x in re.findall(r'"(?:[^"\\]|\\.)*"', body.get(form, ""))]
    elif form == "json_schema" and (body.get("response_format") or {}).get("type") == form:
        schema = body["response_format"][form]["schema"]
        if "enum" not in schema:
            return json.dumps({k: pick(v["enum"], k, *parts) for k, v in schema["properties"].items()})
        options = [json.dumps(x) for x in schema["enum"]]
    else:
        options = None
    return pick(options, *parts) if options else None


def sentence(body: dict[str, Any]) -> str:
    """Free text: a choice among the names that the last message with a list of them lists, or else any of its words."""
    said = [m["content"] for m in reversed(body["messages"]) if m["role"] != "assistant"]
    lists = [re.findall(r"^[-*\s]*(\w[\w ]{0,20})$", text, re.M) for text in said]
    options = next((names for names in lists if len(names) > 1), re.findall(r"\w+", said[0]))
    return f"I choose {pick(options, body['messages'], body.get('seed'))}."
