"""The classical algorithms, vectorised over episodes: an index per arm, ties broken at random.

State is what all of them need, pull counts and mean rewards [R, K]; an algorithm is the index it computes from
them. The public classes are frozen values: their fields are their hyperparameters.
"""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from icrl.agents.dice import BLOCK, Dice
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View

_TIE = 1e-9  # indices closer than this are a tie
_CONFIG = ConfigDict(extra="forbid")


@plain_dataclass(frozen=True)
class Counts:
    """Sufficient statistics [R, K], advanced in place.

    In memory each arm's column is contiguous ("F"): the best of a few arms in each of many rows is then found by
    comparing whole columns.
    """

    pulls: Ints
    mean: Floats
    width: Floats
    """1/sqrt(pulls), infinite for an untried arm; kept, because a square root of every cell at every step is not."""
    dice: Dice
    public: Public


@dataclass(frozen=True, config=_CONFIG)
class _Classical:
    """Counts, ties and the fold; a subclass gives `index`."""

    @property
    def block(self) -> int | None:
        """Whole blocks, so that results do not depend on the batch."""
        return BLOCK

    def check(self, public: Public) -> None:
        """Raises ValueError for tasks where a choice is more than one arm."""
        if public.slots != 1:
            raise ValueError(f"agent: {type(self).__name__} chooses one arm per step, the task asks for {public.slots}")

    def names(self, public: Public, episodes: Ints, seed: int) -> Names | None:
        """Classical agents read no labels."""
        return None

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Counts:
        """Nothing pulled yet."""
        shape = (len(episodes), public.n_arms)
        pulls, mean = np.zeros(shape, np.int64, "F"), np.zeros(shape, order="F")
        return Counts(pulls, mean, np.full(shape, np.inf, order="F"), Dice.of(self, episodes, seed), public)

    def index(self, state: Counts, view: View) -> Floats:
        """[R, K] the higher the better; may be infinite."""
        raise TypeError(f"{type(self).__name__} has no index")

    def act(self, state: Counts, view: View) -> tuple[Counts, Choice]:
        """An arm with the highest index among the legal ones, ties at random."""
        return state, Choice(argmax(self.index(state, view), view.legal, state.dice)[:, None])

    def update(self, state: Counts, view: View, choice: Choice, outcome: Outcome) -> Counts:
        """Counts a pull; a forfeited step changes nothing."""
        at = choice.arm[:, 0] * len(state.pulls) + np.arange(len(state.pulls))
        pulls, means, width = (cells.ravel("F") for cells in (state.pulls, state.mean, state.width))  # views
        reward = outcome.reward
        if (lost := choice.arm[:, 0] < 0).any():
            at, reward = at[~lost], reward[~lost]
        n, mean = pulls.take(at) + 1, means.take(at)
        pulls[at], means[at], width[at] = n, mean + (reward - mean) / n, 1.0 / np.sqrt(n)
        return state

    def take(self, state: Counts, rows: Bools) -> Counts:
        """Keeps the rows of episodes that go on."""
        kept: dict[str, Any] = {k: np.asfortranarray(getattr(state, k)[rows]) for k in ("pulls", "mean", "width")}
        return replace(state, dice=state.dice.take(rows), **kept)


@dataclass(frozen=True, config=_CONFIG)
class Uniform(_Classical):
    """Every legal arm with the same probability."""

    def index(self, state: Counts, view: View) -> Floats:
        """All arms tie."""
        return np.zeros_like(state.mean)


@dataclass(frozen=True, config=_CONFIG)
class Greedy(_Classical):
    """Each arm once, in random order, then the best empirical mean."""

    def index(self, state: Counts, view: View) -> Floats:
        """The empirical mean, untried arms first."""
        return np.where(state.pulls, state.mean, np.inf)


@dataclass(frozen=True, config=_CONFIG)
class EpsilonGreedy(_Classical):
    """With probability `epsilon` a uniform legal arm, else as `Greedy`."""

    epsilon: Annotated[float, Field(ge=0, le=1)] = 0.1

    def index(self, state: Counts, view: View) -> Floats:
        """The greedy index, or a constant in the rows that explore."""
        explore = state.dice.uniform(1) < self.epsilon
        return np.where(explore, 0.0, np.where(state.pulls, state.mean, np.inf))


@dataclass(frozen=True, config=_CONFIG)
class UCB(_Classical):
    """Upper confidence bounds: each arm once, then the highest mean plus bonus.

    The bonus is `sqrt(alpha * ln t / n)`: alpha = 2 is UCB1 (Auer et al. 2002) and the default, alpha = 0.5 is
    EVOLvE's (Nie et al. 2024). With `c` instead it is `sqrt(c / n)`, which does not grow with time (Krishnamurthy
    et al. 2024 use c = 1).

    Raises:
        ValueError: Both `alpha` and `c` are given, or one of them is not positive.
    """

    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    c: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_bonus(self) -> UCB:
        if self.alpha is not None and self.c is not None:
            raise ValueError(f"give alpha (bonus sqrt(alpha ln t / n)) or c (bonus sqrt(c / n)), not both: {self}")
        return self

    def scale(self, t: Ints) -> Floats:
        """[R] the factor of 1/sqrt(n) in the bonus after `t` steps."""
        if self.c is not None:
            return np.full(t.shape, np.sqrt(self.c))
        alpha = 2.0 if self.alpha is None else self.alpha
        return np.sqrt(alpha * np.log(np.maximum(t, 1 + 1e-12)))  # above zero, so that 0 * inf is never met

    def index(self, state: Counts, view: View) -> Floats:
        """Mean plus bonus; infinite for an untried arm."""
        bonus = state.width * self.scale(view.t)[:, None]
        bonus += state.mean
        return bonus


@dataclass(frozen=True, config=_CONFIG)
class ThompsonSampling(_Classical):
    """Plays the best arm of one draw from the posterior (Thompson 1933).

    Bernoulli rewards: Beta(1, 1) priors. Gaussian rewards: flat priors and the task's known standard deviation, so
    an arm's posterior is N(mean, sd^2 / n), each arm once first.
    """

    def index(self, state: Counts, view: View) -> Floats:
        """One draw per arm from the posterior of its mean."""
        if state.public.reward == "bernoulli":
            wins = state.mean * state.pulls
            return state.dice.beta(1.0 + wins, 1.0 + state.pulls - wins)
        noise = state.dice.normal(state.mean.shape[1]) * (state.public.noise_sd or 0.0)
        drawn = state.mean + noise * np.where(state.pulls, state.width, 0.0)
        return np.where(state.pulls, drawn, np.inf)


def argmax(index: Floats, legal: Bools, dice: Dice) -> Ints:
    """[R] the highest legal index of each row, ties at random; only rows with a tie draw."""
    if not legal.all():
        index = np.where(legal, index, -np.inf)
    best = index >= index.max(axis=1, keepdims=True) - _TIE
    # Sums over columns, in the smallest integer that holds K: numpy's argmax goes cell by cell along short rows.
    n_arms, small = index.shape[1], np.min_scalar_type(index.shape[1])
    arm: Ints = (best * np.arange(n_arms, dtype=small)).sum(axis=1, dtype=small).astype(np.int64)
    tied = best.sum(axis=1, dtype=small) > 1
    rows = np.flatnonzero(tied)
    arm[rows] = np.where(best[rows], dice.take(tied).uniform(n_arms), -1.0).argmax(axis=1)
    return arm
