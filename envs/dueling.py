"""Dueling bandits: two arms are named at each step, and what comes back is which of them was preferred."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.special import expit

from icrl.envs import tape
from icrl.envs.bandit import Arms, Horizon
from icrl.envs.means import Finite, Means, Positive, turns
from icrl.envs.noise import paid
from icrl.envs.spec import Spec
from icrl.envs.tape import Keys, Stream
from icrl.envs.types import Floats, Instances, Ints, Outcome, Public, Truth, View


class BradleyTerry(Spec):
    """Arm i is preferred to j with probability 1 / (1 + exp(-scale (s_i - s_j))) (Bradley and Terry 1952).

    Attributes:
        strengths: How the strengths s are drawn.
        scale: How decisive they are.
    """

    kind: Literal["bradley-terry"] = "bradley-terry"
    strengths: Means
    scale: Positive = 1.0

    def check(self, n_arms: int) -> None:
        """Raises ValueError unless strengths fit the number of arms."""
        self.strengths.bounds(n_arms)

    def draw(self, n_arms: int, episodes: Ints, seed: int) -> Floats:
        """float[B, K, K] probability that the row's arm is preferred to the column's."""
        s = self.strengths.draw(n_arms, episodes, seed)
        return np.asarray(expit(self.scale * (s[:, :, None] - s[:, None])))


class Matrix(Spec):
    """Any table of preferences; arms are rotated so that each position is the best equally often.

    Attributes:
        values: [K][K] probability that the row's arm is preferred to the column's.

    Raises:
        ValueError: The table is not square, or P[i][j] + P[j][i] is not 1.
    """

    kind: Literal["matrix"] = "matrix"
    values: tuple[tuple[Finite, ...], ...]

    @model_validator(mode="after")
    def _is_complementary(self) -> Self:
        k = len(self.values)
        if wrong := [i for i, row in enumerate(self.values) if len(row) != k]:
            raise ValueError(f"preferences.values has {k} rows, but row {wrong[0]} has {len(self.values[wrong[0]])}")
        p = np.array(self.values)
        bad = np.argwhere((p < 0) | (p > 1) | (abs(p + p.T - 1) > 1e-9))
        if len(bad):
            i, j = bad[0].tolist()
            raise ValueError(
                f"preferences.values must lie in [0, 1] with P[i][j] + P[j][i] = 1 (so P[i][i] = 0.5), got "
                f"P[{i}][{j}] = {p[i, j]:g} and P[{j}][{i}] = {p[j, i]:g}"
            )
        return self

    def check(self, n_arms: int) -> None:
        """Raises ValueError unless the table fits the number of arms."""
        if len(self.values) != n_arms:
            raise ValueError(f"preferences.values has {len(self.values)} rows, but n_arms is {n_arms}")

    def draw(self, n_arms: int, episodes: Ints, seed: int) -> Floats:
        """float[B, K, K] probability that the row's arm is preferred to the column's."""
        at = turns(n_arms, episodes, seed)
        table: Floats = np.array(self.values)[at[:, :, None], at[:, None]]
        return table


@dataclass(frozen=True)
class DuelState:
    """Live rows of a dueling bandit."""

    episode: Ints
    t: Ints
    preferences: Floats
    """[R, K, K]"""
    gaps: Floats
    """[R, K]"""
    luck: Keys
    """[R, K, K] one stream per unordered pair, in the upper triangle, each at its next meeting."""


class Dueling(Spec):
    """A dueling bandit: a choice is a pair of arms, its reward 1 if the first was preferred, else 0.

    An arm's mean is how often it beats the best arm, so the best arm has 0.5 and gaps are the usual
    P[best][k] - 0.5. The gap of a step is that of its two arms on average (strong regret; Zoghi et al. 2014);
    `icrl.metrics` has weak regret too. The best arm is the Condorcet winner; where there is none, the arm that beats
    most others, and an arm's mean is the share of the others that it beats (Copeland; Zoghi et al. 2015).
    """

    kind: Literal["dueling"] = "dueling"
    n_arms: Arms
    horizon: Horizon
    preferences: Annotated[BradleyTerry | Matrix, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _preferences_fit(self) -> Self:
        self.preferences.check(self.n_arms)
        return self

    @property
    def public(self) -> Public:
        """All that an agent may know beforehand."""
        return Public("dueling", self.n_arms, self.horizon, "bernoulli", slots=2)

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """Means [B, K], as the class explains, and best arms [B]."""
        means = worth(self.preferences.draw(self.n_arms, episodes, seed))
        return Instances(means, means.argmax(axis=1))

    def start(self, episodes: Ints, seed: int) -> DuelState:
        """The first state of these episodes."""
        preferences = self.preferences.draw(self.n_arms, episodes, seed)
        means, k = worth(preferences), np.arange(self.n_arms)
        luck = tape.key(seed, Stream.DUEL, episodes[:, None, None], k[:, None], k)
        return DuelState(episodes, np.zeros_like(episodes), preferences, means.max(axis=1, keepdims=True) - means, luck)

    def view(self, state: DuelState) -> View:
        """What may be seen: the episode and the time."""
        return View(state.episode, state.t, np.zeros_like(state.t), np.ones(state.gaps.shape, np.bool_))

    def step(self, state: DuelState, arm: Ints) -> tuple[DuelState, Outcome, Truth]:
        """One duel per row: the n-th meeting of two arms ends the same, whichever is named first."""
        rows, played = np.arange(len(arm)), np.asarray((arm >= 0).all(axis=1))
        low, high = np.where(played[:, None], np.sort(arm, axis=1), 0).T
        keys = state.luck[rows, low, high]
        lower_wins = tape.uniform(keys) > 1.0 - state.preferences[rows, low, high]
        reward = np.where(played, (lower_wins == (arm[:, 0] <= arm[:, 1])).astype(np.float64), np.nan)
        gap = np.where(played, (state.gaps[rows, low] + state.gaps[rows, high]) / 2, np.nan)
        state.luck[rows[played], low[played], high[played]] = tape.following(keys[played])
        state = replace(state, t=state.t + 1)
        best = np.repeat(state.gaps.argmin(axis=1)[:, None], 2, axis=1)
        return state, paid(reward, state.t, self.horizon), Truth(gap, best)


def worth(preferences: Floats) -> Floats:
    """[B, K] what an arm is worth: how often it beats the Condorcet winner, else the share of arms that it beats."""
    k = preferences.shape[1]
    beats = (preferences > 0.5).sum(axis=2)
    winner = beats.argmax(axis=1)
    against = preferences[np.arange(len(winner)), :, winner]
    condorcet = beats.max(axis=1, keepdims=True) == k - 1
    return np.where(condorcet, against, (beats + ((preferences == 0.5).sum(axis=2) - 1) / 2) / (k - 1))
