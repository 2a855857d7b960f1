"""What no training corpus may contain, in one place: seeds, scenarios and label words of evaluations."""

from __future__ import annotations

from icrl.prompts import scenarios

EVALUATION_SEEDS = range(1_000_000)
"""Seeds that users, tests and tables play; a corpus draws its luck from seeds beyond."""

STORIES = ("buttons", "clothes")
"""The scenarios that a corpus is written in; the others are held out."""

FOLD = 5
"""Every fifth label of each scenario is held out."""


def held_out(scenario: str) -> tuple[str, ...]:
    """Labels of a scenario that no corpus may use."""
    return scenarios()[scenario].labels[FOLD - 1 :: FOLD]


def trained(scenario: str) -> tuple[str, ...]:
    """All other labels of a scenario."""
    out = set(held_out(scenario))
    return tuple(word for word in scenarios()[scenario].labels if word not in out)
