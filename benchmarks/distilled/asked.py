"""What was asked of students before they were trained, beside what came of it, where labels are new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from distilled.plans import CONTEXTS, GAUSSIAN, HINTS, POSTERIOR

Side = Mapping[str, Any]
THEIRS = "on the teacher's histories"
ENTROPIES = ("entropy on its own histories", f"teacher's entropy {THEIRS}")
NEAR, SHARE = 0.03, 0.1
"""Of Thompson sampling: within so much of the teacher's, or within such a share of it."""


@dataclass(frozen=True)
class Asked:
    """One of the things that were asked."""

    of: str
    what: str
    measure: Callable[[Side], float]
    bound: float
    at_least: bool = False

    def value(self, sides: list[Side]) -> float:
        """The mean over training seeds."""
        return float(np.mean([self.measure(side) for side in sides]))

    def met(self, sides: list[Side]) -> bool:
        """Whether it is as was asked."""
        value = self.value(sides)
        return value >= self.bound if self.at_least else value <= self.bound


def _regret(side: Side) -> float:
    return float(side["normalised"][0])


def _failure(side: Side) -> float:
    return float(side["beside"]["suffix failure"][0])


def _min_frac(side: Side) -> float:
    return abs(float(side["beside"]["K MinFrac"][0]))


def _agreement(side: Side) -> float:
    return float(side["agreement"][f"agreement {THEIRS}"])


def _variation(side: Side) -> float:
    return float(side["agreement"][f"total variation {THEIRS}"])


def _beyond(ours: float, theirs: float) -> float:
    """How far apart, as a share of what is allowed."""
    return abs(ours - theirs) / max(NEAR, SHARE * abs(theirs))


def _apart(measure: str) -> Callable[[Side], float]:
    def found(side: Side) -> float:
        ours, apart = side["measures"][measure][0], side["beside"][measure][0]
        return _beyond(ours, ours - apart)

    return found


def _entropy(side: Side) -> float:
    ours, theirs = (side["agreement"][name] for name in ENTROPIES)
    return _beyond(ours, theirs)


LIST = (
    Asked("UCB", "normalised regret", _regret, 0.10),
    Asked("UCB", "suffix failure above the teacher's", _failure, 0.03),
    Asked("UCB", "K MinFrac apart from the teacher's", _min_frac, 0.05),
    Asked("UCB", "agreement", _agreement, 0.80, at_least=True),
    Asked(GAUSSIAN, "normalised regret", _regret, 0.20),
    Asked("Thompson", "total variation", _variation, 0.10),
    *(
        Asked("Thompson", f"{name} apart, of 10 % or 0.03", measure, 1.0)
        for name, measure in (
            ("suffix failure", _apart("suffix failure")),
            ("K MinFrac", _apart("K MinFrac")),
            ("entropy", _entropy),
        )
    ),
    Asked(CONTEXTS, "normalised regret", _regret, 0.15),
    Asked(HINTS, "normalised regret", _regret, 0.15),
    Asked(POSTERIOR, "total variation", _variation, 0.15),
    Asked(POSTERIOR, "normalised regret", _regret, 0.15),
)


def rows(sides: Mapping[str, list[Side]]) -> list[list[str]]:
    """Of each thing: who, what, the bound, the mean over training seeds, and whether it is met; controls must fail.

    Args:
        sides: By teacher or control, a side for each seed.
    """
    found = []
    for one in LIST:
        if one.of in sides:
            own = sides[one.of]
            bound = f"at {'least' if one.at_least else 'most'} {one.bound:.2f}"
            found.append([one.of, one.what, bound, f"{one.value(own):.3f}", "met" if one.met(own) else "MISSED"])
    return found + [_control(name, sides[name]) for name in sides if name.startswith("control")]


def _control(name: str, sides: list[Side]) -> list[str]:
    """A control is to miss something of what is asked of those who learn from UCB."""
    missed = [one.what for one in LIST if one.of == "UCB" and not one.met(sides)]
    told = f"misses {', '.join(missed)}" if missed else "misses nothing"
    return [name, "all that is asked of UCB's", "to miss some", told, "met" if missed else "MISSED"]
