"""What a hint is made of: the numbers of an algorithm, folded over the history that a model has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View

S = TypeVar("S")


class Adviser(Protocol[S]):
    """An algorithm's state and its numbers; every algorithm of `icrl.agents` is one. Arguments as in `Agent`."""

    def check(self, public: Public) -> None:
        """Raises ValueError if there is nothing to say about such a task."""
        ...

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> S: ...

    def advise(self, state: S, view: View) -> Mapping[str, Floats]:
        """Numbers [R, K] by name; NaN where there is none, as for an arm that was never tried.

        `value`: what an arm is believed to pay; `count`: how often it was pulled, or how much of that is remembered;
        `bonus`: what is added for being uncertain, negative for pessimists; `low` and `high`: where the value lies with
        90 % posterior probability; `best`: the posterior probability of being the best arm; `rank`: what it orders
        arms by, if that is not value plus bonus. An algorithm gives those that it has, `value` and `count` always.
        """
        ...

    def act(self, state: S, view: View) -> tuple[S, Choice]:
        """What it would choose itself."""
        ...

    def update(self, state: S, view: View, choice: Choice, outcome: Outcome) -> S: ...

    def take(self, state: S, rows: Bools) -> S: ...


AnyAdviser = Adviser[Any]
