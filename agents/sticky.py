"""Players of habit: win-stay, lose-shift, which any learner should beat, and one that rewards do not move."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
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
class _Remembering(_Classical):
    """Counts, and the last pull; a subclass gives `index`."""

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Last:
        """Nothing pulled yet."""
        counts = super().start(public, names, episodes, seed)
        return Last(**vars(counts), arm=np.full(len(episodes), -1), won=np.zeros(len(episodes), np.bool_))

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


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WinStayLoseShift(_Remembering):
    """The same arm again after a win, which is a reward above 0, else any other (Robbins 1952)."""

    def index(self, state: Counts, view: View) -> Floats:
        """1 for an arm that won, -1 for one that lost, 0 for the others."""
        assert isinstance(state, Last)
        index = np.zeros_like(state.mean)
        rows = np.flatnonzero(state.arm >= 0)
        index[rows, state.arm[rows]] = np.where(state.won[rows], 1.0, -1.0)
        return index


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Stubborn(_Remembering):
    """The same arm again with probability `stay`, whatever it gave, else any arm."""

    stay: Annotated[float, Field(ge=0, le=1)] = 0.9

    def index(self, state: Counts, view: View) -> Floats:
        """1 for the last arm in the rows that stay, else 0."""
        assert isinstance(state, Last)
        index = np.zeros_like(state.mean)
        rows = np.flatnonzero((state.dice.uniform(1)[:, 0] < self.stay) & (state.arm >= 0))
        index[rows, state.arm[rows]] = 1.0
        return index
