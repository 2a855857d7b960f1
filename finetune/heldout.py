"""What no training corpus may contain, in one place: seeds, a scenario, label words and a number of arms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from icrl.prompts import scenarios

EVALUATION_SEEDS = range(1_000_000)
"""Seeds that users, tests and tables play; a corpus draws its luck from seeds beyond."""

STORIES = ("buttons", "slots", "clothes")
"""The scenarios that a corpus is written in; the others are held out."""

ARMS = (2, 3, 4, 5, 6, 8, 9, 10)
"""Numbers of arms; 7 is held out."""

FOLD = 5
"""Every fifth label of each scenario is held out."""


def held_out(scenario: str) -> tuple[str, ...]:
    """Labels of a scenario that no corpus may use."""
    return scenarios()[scenario].labels[FOLD - 1 :: FOLD]


def all_held_out() -> tuple[str, ...]:
    """Those of all scenarios."""
    return tuple(word for name in scenarios() for word in held_out(name))


def words() -> tuple[str, ...]:
    """All labels of all scenarios."""
    return tuple(dict.fromkeys(word for story in scenarios().values() for word in story.labels))


def told_apart(labels: Iterable[str], encode: Callable[[str], Any]) -> tuple[str, ...]:
    """Of labels that begin with the same token only the first: the others cannot be learnt beside it.

    Args:
        labels: Words.
        encode: Tokens of a word.
    """
    first: dict[int, str] = {}
    for label in labels:
        first.setdefault(int(encode(label)[0]), label)
    return tuple(first.values())


def trained() -> tuple[str, ...]:
    """All labels that a corpus uses; any of them may name an arm of any scenario."""
    out = set(all_held_out())
    return tuple(word for word in words() if word not in out)
