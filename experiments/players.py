"""Agents by their names in an experiment file: algorithms, agents around agents, and classes by an import path."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from icrl import agents
from icrl.agents import ALGORITHMS
from icrl.agents.base import AnyAgent
from icrl.envs.spec import check_keys, nearest, sentence

PLAYERS = {
    "TryAll": ("agent",),
    "EpsilonMix": ("agent",),
    "NoiseCurriculum": ("agent",),
    "Mixture": ("llm", "algorithm"),
    "Corral": ("llm", "algorithm"),
    "PriorThompson": ("llm",),
    "Stating": ("algorithm",),
    "Restarting": ("agent",),
}
"""Agents around agents: which of their fields are agents themselves."""
_EITHER = "give a model (model: pocket) or an algorithm (type: UCB)"
_ALGORITHM = "give an algorithm (type: UCB)"
Modelled = Callable[[dict[str, Any], str], Any]
"""What is done with the fields of an agent on a language model, and the place where they stand."""


def no_model(fields: dict[str, Any], where: str) -> Any:
    """Where only algorithms are allowed.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{where}: {_ALGORITHM}, got {fields!r}")


def agent(spec: Any, where: str, modelled: Modelled = no_model) -> AnyAgent:
    """An agent, after those inside it.

    Args:
        spec: Checked fields, or the name of an algorithm.
        where: Where they stand.
        modelled: Builds an agent on a language model.
    """
    fields: dict[str, Any] = {"type": spec} if isinstance(spec, str) else dict(spec)
    if "model" in fields:
        built: AnyAgent = modelled(fields, where)
        return built
    for inner in PLAYERS.get(fields["type"], ()):
        fields[inner] = agent(fields[inner], f"{where}.{inner}", modelled)
    return _build(fields, where)


def check(spec: Any, where: str, modelled: Modelled = no_model) -> None:
    """Raises ValueError for an agent that cannot be built, before anything is loaded.

    Args:
        spec: What stands in the file.
        where: There.
        modelled: Checks an agent on a language model.
    """
    fields = {"type": spec} if isinstance(spec, str) else spec
    kind = fields.get("type") if isinstance(fields, dict) else None
    if isinstance(fields, dict) and "model" in fields:
        modelled(fields, where)
        return
    if not isinstance(kind, str):
        raise ValueError(f"{where}: {_ALGORITHM if modelled is no_model else _EITHER}, got {spec!r}")
    if ":" in kind:
        return
    if kind not in (known := (*ALGORITHMS, *PLAYERS)):
        raise ValueError(f"{where}: unknown algorithm {kind!r}{nearest(kind, known)} Known: {', '.join(known)}")
    check_keys((k for k in fields if k != "type"), inspect.signature(getattr(agents, kind)).parameters, where)
    for inner in PLAYERS.get(kind, ()):
        check(fields.get(inner), f"{where}.{inner}", modelled)
    if kind not in PLAYERS:
        _build(fields, where)


def models_in(spec: Any, where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The fields of agents on language models that an agent is, or asks about the whole task; and where they stand."""
    fields = {"type": spec} if isinstance(spec, str) else spec
    if "model" in fields:
        yield fields, where
    elif fields["type"] != "Restarting":  # its agent never sees more than a game
        for inner in PLAYERS.get(fields["type"], ()):
            yield from models_in(fields[inner], f"{where}.{inner}")


def _build(fields: dict[str, Any], where: str) -> AnyAgent:
    """An algorithm, or a class of the user's."""
    kind, rest = fields["type"], {key: value for key, value in fields.items() if key != "type"}
    build = imported(kind, where) if ":" in kind else getattr(agents, kind)
    try:
        built: AnyAgent = build(**rest)
    except ValidationError as error:
        raise ValueError(sentence(error, where, rest)) from error
    except TypeError as error:
        raise ValueError(f"{where}: {kind} cannot be built from {rest}: {error}") from error
    if not callable(getattr(built, "act", None)):
        raise ValueError(f"{where}: {kind} gives {type(built).__name__}, which has not the methods of an agent")
    return built


def imported(path: str, where: str) -> Any:
    """The object that an import path `package.module:object` names."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: cannot import {path!r}: {error}") from error
