"""Win-stay, lose-shift: the simplest player that reacts to rewards; what any learner should beat."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from dataclasses import replace

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from icrl.agents.classical import Counts, _Classical
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View


@plain_dataclass(frozen=True)
class Last(Counts):
    """Counts, and what happened last."""

    arm: Ints
    """[R] -1 before the first pull."""
    won: Bools
    """[R]"""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WinStayLoseShift(_Classical):
    """The same arm again after a reward of 1, else any other (Robbins 1952). For Bernoulli rewards."""

    def check(self, public: Public) -> None:
        """Raises ValueError for rewards that are neither won nor lost."""
        super().check(public)
        if public.reward != "bernoulli":
            raise ValueError(f"agent: WinStayLoseShift needs rewards of 0 or 1, the task's are {public.reward}")

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Last:
        """Nothing pulled yet."""
        counts = super().start(public, names, episodes, seed)
        return Last(**vars(counts), arm=np.full(len(episodes), -1), won=np.zeros(len(episodes), np.bool_))

    def index(self, state: Counts, view: View) -> Floats:
        """1 for an arm that won, -1 for one that lost, 0 for the others."""
        assert isinstance(state, Last)
        index = np.zeros_like(state.mean)
        rows = np.flatnonzero(state.arm >= 0)
        index[rows, state.arm[rows]] = np.where(state.won[rows], 1.0, -1.0)
        return index

    def update(self, state: Counts, view: View, choice: Choice, outcome: Outcome) -> Counts:
        """Remembers this pull; a forfeited step is forgotten."""
        assert isinstance(state, Last)
        played = choice.arm[:, 0] >= 0
        state.arm[played] = choice.arm[played, 0]
        state.won[played] = outcome.reward[played] > 0
        return super().update(state, view, choice, outcome)

    def take(self, state: Counts, rows: Bools) -> Counts:
        """Keeps the rows of episodes that go on."""
        assert isinstance(state, Last)
        kept = super().take(state, rows)
        return replace(kept, arm=state.arm[rows], won=state.won[rows])  # type: ignore[call-arg]
