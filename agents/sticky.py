"""Players of habit: win-stay, lose-shift, which any learner should beat, and one that rewards do not move."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass

import numpy as np
from pydantic.dataclasses import dataclass

from icrl.agents.classical import CONFIG, DRAWS, Counting, Counts, argmax, ties
from icrl.agents.dice import Dice
from icrl.agents.simple import Rate
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View


@plain_dataclass(frozen=True)
class Last(Counts):
    """Counts, and what happened last."""

    arm: Ints
    """[R] -1 before the first pull."""
    won: Bools
    """[R]"""


class Remembering(Counting):
    """Counts, and the last pull."""

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Last:
        """Nothing pulled yet."""
        n = len(episodes)
        return Last.none(self, public, episodes, seed, arm=np.full(n, -1), won=np.zeros(n, np.bool_))

    def update(self, state: Counts, view: View, choice: Choice, outcome: Outcome) -> Counts:
        """Remembers this pull; a forfeited step is forgotten."""
        assert isinstance(state, Last)
        played = choice.arm[:, 0] >= 0
        state.arm[played] = choice.arm[played, 0]
        state.won[played] = outcome.reward[played] > 0
        return super().update(state, view, choice, outcome)


@dataclass(frozen=True, config=CONFIG)
class WinStayLoseShift(Remembering):
    """The same arm again after a win, which is a reward above 0, else any other (Robbins 1952)."""

    def index(self, state: Counts, view: View) -> Floats:
        """1 for an arm that won, -1 for one that lost, 0 for the others."""
        assert isinstance(state, Last)
        index = np.zeros_like(state.mean)
        rows = np.flatnonzero(state.arm >= 0)
        index[rows, state.arm[rows]] = np.where(state.won[rows], 1.0, -1.0)
        return index


@dataclass(frozen=True, config=CONFIG)
class Stubborn(Remembering):
    """The same arm again with probability `stay`, whatever it gave, else any arm."""

    stay: Rate = 0.9

    def index(self, state: Counts, view: View) -> Floats:
        """1 for the last arm, else 0."""
        assert isinstance(state, Last)
        index = np.zeros_like(state.mean)
        rows = np.flatnonzero(state.arm >= 0)
        index[rows, state.arm[rows]] = 1.0
        return index

    def pick(self, state: Counts, view: View, dice: Dice) -> Ints:
        """The last arm in the rows that stay, else any."""
        stays = dice.uniform(1) < self.stay
        return argmax(np.where(stays, self.index(state, view), 0.0), view.legal, dice)[:, None]

    def policy(self, state: Counts, view: View, draws: int = DRAWS) -> Floats:
        """Exact."""
        last, chance = ties(self.index(state, view), view.legal), ties(np.zeros_like(state.mean), view.legal)
        return (self.stay * last + (1 - self.stay) * chance)[:, None]
