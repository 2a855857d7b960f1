"""Numbers of a file that are drawn anew for each batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

KINDS = ("choice", "uniform", "log")


def drawn(spec: Any, rng: Generator) -> Any:
    """Fields with a draw in place of each `{choice: [...]}`, `{uniform: [low, high]}` or `{log: [low, high]}`.

    Of two whole numbers a whole one is drawn, both ends included; a fraction is rounded to three digits, so that it can
    be read. `log` draws evenly over orders of magnitude.
    """
    if isinstance(spec, dict):
        if (kind := kind_of(spec)) is not None:
            return _one(kind, spec[kind], rng)
        return {key: drawn(value, rng) for key, value in spec.items()}
    return [drawn(value, rng) for value in spec] if isinstance(spec, list | tuple) else spec


def first(spec: Any) -> Any:
    """Fields with the first choice, or the lower end, in place of each draw."""
    if isinstance(spec, dict):
        kind = kind_of(spec)
        return {key: first(value) for key, value in spec.items()} if kind is None else first(spec[kind][0])
    return [first(value) for value in spec] if isinstance(spec, list | tuple) else spec


def leaves(spec: Any) -> Iterator[Any]:
    """All plain values in it, of draws whatever may come."""
    if isinstance(spec, dict | list | tuple):
        for part in spec.values() if isinstance(spec, dict) else spec:
            yield from leaves(part)
    else:
        yield spec


def kind_of(spec: dict[str, Any]) -> str | None:
    """Which kind of draw fields stand for, if they do."""
    return next((kind for kind in KINDS if set(spec) == {kind}), None)


def check(spec: Any, where: str) -> None:
    """Raises ValueError for a draw that cannot be made."""
    if isinstance(spec, list | tuple):
        for i, value in enumerate(spec):
            check(value, f"{where}.{i}")
    if isinstance(spec, dict):
        if (kind := kind_of(spec)) is None:
            for key, value in spec.items():
                check(value, f"{where}.{key}")
            return
        given = spec[kind]
        if not isinstance(given, list) or not given:
            raise ValueError(f"{where}.{kind}: give a list, got {given!r}")
        if kind != "choice" and not _is_range(given, kind):
            more = " above 0" if kind == "log" else ""
            raise ValueError(f"{where}.{kind}: give two numbers{more}, the lower one first, got {given!r}")


def _is_range(given: list[Any], kind: str) -> bool:
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) and np.isfinite(x) for x in given)
    return numbers and len(given) == 2 and given[0] < given[1] and (kind == "uniform" or given[0] > 0)


def _one(kind: str, given: list[Any], rng: Generator) -> Any:
    if kind == "choice":
        return drawn(given[int(rng.integers(len(given)))], rng)
    low, high = given
    if whole := all(isinstance(x, int) for x in given):
        high += 1
    u = rng.random()
    value = low + (high - low) * u if kind == "uniform" else low * (high / low) ** u
    return math.floor(value) if whole else float(f"{value:.3g}")
