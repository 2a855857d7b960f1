"""Bandits whose means change while they are played: at once, at drawn times, or a little at every step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.special import ndtri

from icrl.envs import tape
from icrl.envs.bandit import BanditState, MeansBandit
from icrl.envs.means import APART, Positive
from icrl.envs.noise import Bernoulli
from icrl.envs.tape import Keys, Stream
from icrl.envs.types import Floats, Instances, Ints, Outcome, Public, Truth


@dataclass(frozen=True)
class SwitchingState(BanditState):
    """Live rows, and what is to come."""

    segments: Floats
    """[R, changes + 1, K] means of each segment."""
    times: Ints
    """[R, changes] steps at which the next segment begins, in order."""


class Switching(MeansBandit):
    """Abrupt changes: all means are drawn anew at `changes` drawn steps (Garivier and Moulines 2011)."""

    kind: Literal["switching"] = "switching"
    changes: Annotated[int, Field(ge=1)] = 2

    @model_validator(mode="after")
    def _there_is_time(self) -> Self:
        if self.changes >= self.horizon:
            raise ValueError(f"changes must be below the horizon, got {self.changes} and {self.horizon}")
        return self

    @property
    def public(self) -> Public:
        """All that an agent may know beforehand."""
        return replace(super().public, kind="moving")

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """Nothing: there are no means for a whole episode."""
        return Instances()

    def start(self, episodes: Ints, seed: int) -> SwitchingState:
        """The first state; no change comes at step 0, and no two at once."""
        parts = [self.means.draw(self.n_arms, episodes + s * APART, seed) for s in range(self.changes + 1)]
        luck = tape.uniform(tape.key(seed, Stream.CHANGE, episodes[:, None], np.arange(1, self.horizon)))
        times = np.sort(np.argsort(luck, axis=1)[:, : self.changes] + 1, axis=1)
        first = self._start(episodes, seed, parts[0])
        return SwitchingState(**vars(first), segments=np.stack(parts, axis=1), times=times)

    def step(self, state: BanditState, arm: Ints) -> tuple[BanditState, Outcome, Truth]:
        """One pull per row, then perhaps a change."""
        assert isinstance(state, SwitchingState)
        after, outcome, truth = super().step(state, arm)
        now = (after.t[:, None] >= state.times).sum(axis=1)
        return after.having(state.segments[np.arange(len(now)), now]), outcome, truth


@dataclass(frozen=True)
class DriftingState(BanditState):
    """Live rows, and the streams of their drift."""

    drift: Keys
    """[R, K]"""


class Drifting(MeansBandit):
    """Drifting means: each takes a step of N(0, drift^2) at every step, reflected at the bounds `within`."""

    kind: Literal["drifting"] = "drifting"
    drift: Positive = 0.02
    within: tuple[float, float] = (0.0, 1.0)

    @model_validator(mode="after")
    def _means_stay(self) -> Self:
        low, high = self.means.bounds(self.n_arms)
        if not self.within[0] <= low or not high <= self.within[1] or self.within[0] == self.within[1]:
            raise ValueError(f"within must hold all means, got {self.within} for means in [{low:g}, {high:g}]")
        if isinstance(self.noise, Bernoulli) and not (self.within[0] >= 0 and self.within[1] <= 1):
            raise ValueError(f"within must lie in [0, 1] for Bernoulli rewards, got {self.within}")
        return self

    @property
    def public(self) -> Public:
        """All that an agent may know beforehand."""
        return replace(super().public, kind="moving")

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """Nothing: there are no means for a whole episode."""
        return Instances()

    def start(self, episodes: Ints, seed: int) -> DriftingState:
        """The first state of these episodes."""
        drift = tape.key(seed, Stream.DRIFT, episodes[:, None], np.arange(self.n_arms))
        return DriftingState(**vars(super().start(episodes, seed)), drift=drift)

    def step(self, state: BanditState, arm: Ints) -> tuple[BanditState, Outcome, Truth]:
        """One pull per row, then all means move."""
        after, outcome, truth = super().step(state, arm)
        assert isinstance(after, DriftingState)
        moved = after.means + self.drift * np.asarray(ndtri(tape.uniform(after.drift)))
        after = replace(after, drift=tape.following(after.drift))
        return after.having(reflected(moved, *self.within)), outcome, truth


def reflected(x: Floats, low: float, high: float) -> Floats:
    """`x` folded back into [low, high], as often as it takes; either bound may be infinite."""
    if np.isinf(low) or np.isinf(high):
        return np.maximum(np.minimum(x, 2 * high - x), 2 * low - np.minimum(x, 2 * high - x))
    span = high - low
    return low + span - np.abs((x - low) % (2 * span) - span)
