"""Finding a model behind `http://…`: which servers, which of their models, and whether they tell probabilities."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from icrl.models.base import Loaded
from icrl.models.errors import ServerLost
from icrl.models.settings import ServerSettings

if TYPE_CHECKING:
    from icrl.models.wire import Wire

_log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds after which a server counts as not there, before anything was asked of it."""


def addresses(name: str) -> list[str]:
    """The addresses that a name holds, with commas between them; `/v1` may be left out.

    Raises:
        ValueError: One has no host, comes twice, or holds what may be a secret.
    """
    found = []
    for text in filter(None, (part.strip() for part in name.split(","))):
        try:
            parts = urlsplit(text)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, half an IPv6 address
            good = False
        if not good:
            shown = text.rpartition("@")[2]  # before it may stand a password
            raise ValueError(f"model: {shown!r} is no address of a server; give http://HOST:PORT/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                f"model: the address of {parts.hostname} may hold no user, key or query; put the key into the "
                "environment, as ICRL_API_KEY"
            )
        found.append(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}")
    if len(set(found)) < len(found):
        raise ValueError(f"model: each server must be named once, got {', '.join(found)}")
    if not found:
        raise ValueError(f"model: {name!r} names no server; give http://HOST:PORT/v1")
    return found


def connect(name: str, settings: ServerSettings, revision: str | None, chat_template: str | Path | None) -> Loaded:
    """The model behind one or several addresses.

    vLLM gives the exact policy; a server that does not tell the probabilities of named tokens draws the choice itself.

    Raises:
        ValueError: There is no such server or model, its servers have different ones, or packages are missing.
        ServerLost: A server does not answer.
    """
    _needs_packages()
    from icrl.models import hosted, vllm_server
    from icrl.models.wire import Wire

    wires = _there([Wire.to([url], settings) for url in addresses(name)])
    known = [find(told, settings.model, wire.servers[0].url) for wire, told in wires]
    wire = Wire([server for one, _ in wires for server in one.servers], settings)
    for server, card in zip(wire.servers, known, strict=True):
        if not _same(card, known[0]):
            raise ValueError(f"model: {server.url} serves {_told(card)}, but {wire.servers[0].url} {_told(known[0])}")
    if all(vllm_server.tells(one, known[0]["id"]) for one, _ in wires):
        return vllm_server.open_model(wire, known[0], revision, chat_template)
    if settings.exact:
        raise ValueError(f"server.exact: {name} does not tell the log-probabilities of named tokens, as vLLM does")
    if revision is not None or chat_template is not None:
        raise ValueError(f"chat_template: {name} takes messages, so neither a template nor a revision can be chosen")
    return hosted.open_model(wire, known[0]["id"])


def _needs_packages() -> None:
    """Raises ValueError where what asks servers is not installed."""
    try:
        import openai  # noqa: F401
        import tenacity  # noqa: F401
    except ImportError as error:
        raise ValueError(f"model: servers need {error.name}; `pip install 'icrl[http]'` brings it") from error


def _there(wires: Sequence[Wire]) -> list[tuple[Wire, list[dict[str, Any]]]]:
    """The servers that answer, with what they serve; those that do not are left out if there are others."""
    found, lost = [], list[ServerLost]()
    for wire in wires:
        try:
            found.append((wire, cards(wire)))
        except ServerLost as error:
            lost.append(error)
            _log.warning("%s is left out: %s", wire.servers[0].url, error)
    if not found:
        raise lost[0]
    return found


def cards(wire: Wire) -> list[dict[str, Any]]:
    """What a server says of each of its models; it is asked for PATIENCE seconds at most."""
    from icrl.models.requests import request

    def read(body: Any) -> list[dict[str, Any]]:
        told = body.get("data") if isinstance(body, dict) else None
        if not isinstance(told, list) or not all(isinstance(card, dict) and card.get("id") for card in told):
            raise ValueError(
                f"model: {wire.servers[0].url}/models gives no list of models; is it an OpenAI-like server?"
            )
        return told

    short = {"deadline": min(PATIENCE, wire.settings.deadline), "patience": min(PATIENCE, wire.settings.patience)}
    hasty = replace(wire, settings=wire.settings.model_copy(update=short))
    return hasty.send([(0, request("/models", None, read))])[0]


def find(told: Sequence[dict[str, Any]], wanted: str | None, url: str) -> dict[str, Any]:
    """One of a server's models: the one that is wanted, or the only one that is no adapter.

    Raises:
        ValueError: There is no such model, or there are several to choose from.
    """
    names = [str(card["id"]) for card in told]
    whole = [card for card in told if not card.get("parent")]
    if wanted is None and len(whole) == 1:
        return whole[0]
    if wanted is None:
        raise ValueError(f"server.model: {url} serves several models: say which of {', '.join(names) or 'none'}")
    if wanted not in names:
        raise ValueError(f"server.model: {url} does not serve {wanted!r}, but {', '.join(names) or 'no model'}")
    return told[names.index(wanted)]


def describe(url: str) -> str:
    """What a server has, and whether it tells probabilities; it is not waited for long.

    Raises:
        ValueError: It is no server of models.
        ServerLost: It does not answer.
    """
    _needs_packages()
    from icrl.models.vllm_server import tells
    from icrl.models.wire import Wire

    address, *more = addresses(url)
    if more:
        raise ValueError(f"server: give one address at a time, got {url!r}")
    wire = Wire.to([address], ServerSettings(deadline=PATIENCE, patience=PATIENCE))
    names = [str(card["id"]) for card in cards(wire)]
    if not names:
        raise ValueError(f"server: {address} serves no model")
    policy = "exact policies" if tells(wire, names[0]) else "sampled choices only"
    return f"serves {', '.join(names)}; {policy}"


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two servers have the same model, as far as they say."""
    return (a["id"], a.get("root")) == (b["id"], b.get("root"))


def _told(card: dict[str, Any]) -> str:
    return f"{card['id']!r} of {card.get('root') or 'unknown origin'}"
