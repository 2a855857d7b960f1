"""The stationary bandit: how the means are drawn, the noise, the number of arms, the horizon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.special import ndtri

from icrl.envs import tape
from icrl.envs.spec import Spec
from icrl.envs.tape import Keys, Stream
from icrl.envs.types import Floats, Instances, Ints, Outcome, Public, Truth, View

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Fixed(Spec):
    """The same means in every episode, rotated so that each position is the best equally often."""

    kind: Literal["fixed"] = "fixed"
    values: tuple[Finite, ...]

    def draw(self, n_arms: int, episodes: Ints, seed: int) -> Floats:
        """float[B, K]"""
        return _rotate(np.array(self.values), episodes, seed)

    def bounds(self, n_arms: int) -> tuple[float, float]:
        """Lowest and highest mean that may come.

        Raises:
            ValueError: There is not one mean per arm.
        """
        if len(self.values) != n_arms:
            raise ValueError(
                f"means.values has {len(self.values)} entries, but n_arms is {n_arms}: give one mean per arm"
            )
        return min(self.values), max(self.values)


class Gap(Spec):
    """One arm with mean `best`, all others lower by `gap`; the best position is counterbalanced."""

    kind: Literal["gap"] = "gap"
    best: Finite
    gap: Positive

    def draw(self, n_arms: int, episodes: Ints, seed: int) -> Floats:
        """float[B, K]"""
        values = np.full(n_arms, self.best - self.gap)
        values[0] = self.best
        return _rotate(values, episodes, seed)

    def bounds(self, n_arms: int) -> tuple[float, float]:
        """Lowest and highest mean that may come."""
        return self.best - self.gap, self.best


class UniformMeans(Spec):
    """Means drawn uniformly on [low, high], anew for each episode."""

    kind: Literal["uniform"] = "uniform"
    low: Finite = 0.0
    high: Finite = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"means.low must be below means.high, got low={self.low} and high={self.high}")
        return self

    def draw(self, n_arms: int, episodes: Ints, seed: int) -> Floats:
        """float[B, K]"""
        return self.low + (self.high - self.low) * _per_arm(n_arms, episodes, seed)

    def bounds(self, n_arms: int) -> tuple[float, float]:
        """Lowest and highest mean that may come."""
        return self.low, self.high


class NormalMeans(Spec):
    """Means drawn from N(mean, sd), anew for each episode."""

    kind: Literal["normal"] = "normal"
    mean: Finite = 0.0
    sd: Positive = 1.0

    def draw(self, n_arms: int, episodes: Ints, seed: int) -> Floats:
        """float[B, K]"""
        return self.mean + self.sd * np.asarray(ndtri(_per_arm(n_arms, episodes, seed)))

    def bounds(self, n_arms: int) -> tuple[float, float]:
        """Lowest and highest mean that may come."""
        return -np.inf, np.inf


class Bernoulli(Spec):
    """Rewards 0 or 1."""

    kind: Literal["bernoulli"] = "bernoulli"
    sd: None = None

    def quantile(self, mean: Floats, u: Floats) -> Floats:
        """The reward at quantile `u` of each arm's distribution."""
        return (u > 1.0 - mean).astype(np.float64)


class Gaussian(Spec):
    """Rewards N(mean, sd), sd the same for every arm."""

    kind: Literal["gaussian"] = "gaussian"
    sd: Positive = 1.0

    def quantile(self, mean: Floats, u: Floats) -> Floats:
        """The reward at quantile `u` of each arm's distribution."""
        return mean + self.sd * np.asarray(ndtri(u))


Means = Annotated[Fixed | Gap | UniformMeans | NormalMeans, Field(discriminator="kind")]
Noise = Annotated[Bernoulli | Gaussian, Field(discriminator="kind")]


@dataclass(frozen=True)
class BanditState:
    """Live rows of a `Bandit`: arrays only, rows first."""

    episode: Ints
    t: Ints
    means: Floats
    highest: Floats
    """[R] mean of the best arm."""
    best: Ints
    luck: Keys
    """[R, K] one stream of rewards per arm, each at its next reward."""


class Bandit(Spec):
    """A stationary stochastic bandit; the reward of the n-th pull of an arm is fixed by (seed, episode, arm, n)."""

    n_arms: Annotated[int, Field(ge=2)]
    horizon: Annotated[int, Field(ge=1)]
    means: Means
    noise: Noise = Bernoulli()

    @model_validator(mode="after")
    def _means_fit(self) -> Self:
        low, high = self.means.bounds(self.n_arms)
        if isinstance(self.noise, Bernoulli) and not (low >= -1e-12 and high <= 1 + 1e-12):
            raise ValueError(f"means must lie in [0, 1] for Bernoulli rewards, got a range of [{low:g}, {high:g}]")
        return self

    @property
    def public(self) -> Public:
        """All that an agent may know beforehand."""
        return Public("bandit", self.n_arms, self.horizon, self.noise.kind, self.noise.sd)

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """Means [B, K] and best arms [B]."""
        means = self.means.draw(self.n_arms, episodes, seed)
        return Instances(means, means.argmax(axis=1))

    def start(self, episodes: Ints, seed: int) -> BanditState:
        """The first state of these episodes."""
        means = self.means.draw(self.n_arms, episodes, seed)
        luck = tape.key(seed, Stream.REWARD, episodes[:, None], np.arange(self.n_arms))
        return BanditState(episodes, np.zeros_like(episodes), means, means.max(axis=1), means.argmax(axis=1), luck)

    def view(self, state: BanditState) -> View:
        """What may be seen: the episode, the time, and that every arm is legal."""
        legal = np.ones(state.means.shape, np.bool_)
        return View(state.episode, state.t, np.zeros_like(state.t), legal)

    def step(self, state: BanditState, arm: Ints) -> tuple[BanditState, Outcome, Truth]:
        """One pull per row; -1 forfeits the step. The streams of luck are advanced in place."""
        at = arm[:, 0] + np.arange(0, state.means.size, self.n_arms)
        played = arm[:, 0] >= 0
        if forfeited := not played.all():
            at = np.where(played, at, 0)
        mean, luck = state.means.take(at), state.luck.take(at)
        reward, gap = self.noise.quantile(mean, tape.uniform(luck)), state.highest - mean
        if forfeited:
            reward, gap = np.where(played, reward, np.nan), np.where(played, gap, np.nan)
            at, luck = at[played], luck[played]
        state.luck.ravel()[at] = tape.following(luck)
        state = replace(state, t=state.t + 1)
        truncated = state.t >= self.horizon
        return state, Outcome(reward, np.zeros_like(truncated), truncated), Truth(gap, state.best[:, None])


def _per_arm(n_arms: int, episodes: Ints, seed: int) -> Floats:
    return tape.uniform(tape.key(seed, Stream.MEANS, episodes[:, None], np.arange(n_arms)))


def _rotate(values: Floats | Sequence[float], episodes: Ints, seed: int) -> Floats:
    """Rotates `values` so that any K episodes from a multiple of K on see each rotation once, in a drawn order."""
    n_arms = len(values)
    turn = (tape.uniform(tape.key(seed, Stream.POSITION, episodes // n_arms)) * n_arms).astype(np.int64)
    turned: Floats = np.asarray(values)[(np.arange(n_arms) - (episodes + turn)[:, None]) % n_arms]
    return turned
