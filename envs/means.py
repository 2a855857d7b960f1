"""How the means of an episode's arms are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.special import ndtri

from icrl.envs import tape
from icrl.envs.spec import Spec
from icrl.envs.tape import Stream
from icrl.envs.types import Floats, Ints

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
    """Numbers drawn uniformly on [low, high], anew for each episode."""

    kind: Literal["uniform"] = "uniform"
    low: Finite = 0.0
    high: Finite = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"means.low must be below means.high, got low={self.low} and high={self.high}")
        if math.isinf(self.high - self.low):
            raise ValueError(f"means.low and means.high lie too far apart to subtract, got {self.low} and {self.high}")
        return self

    def quantile(self, u: Floats) -> Floats:
        """The number at quantile `u`."""
        return self.low + (self.high - self.low) * u

    def draw(self, n_arms: int, episodes: Ints, seed: int) -> Floats:
        """float[B, K]"""
        return self.quantile(_per_arm(n_arms, episodes, seed))

    def bounds(self, n_arms: int) -> tuple[float, float]:
        """Lowest and highest mean that may come."""
        return self.low, self.high


class NormalMeans(Spec):
    """Numbers drawn from N(mean, sd), anew for each episode."""

    kind: Literal["normal"] = "normal"
    mean: Finite = 0.0
    sd: Positive = 1.0

    def quantile(self, u: Floats) -> Floats:
        """The number at quantile `u`."""
        return self.mean + self.sd * np.asarray(ndtri(u))

    def draw(self, n_arms: int, episodes: Ints, seed: int) -> Floats:
        """float[B, K]"""
        return self.quantile(_per_arm(n_arms, episodes, seed))

    def bounds(self, n_arms: int) -> tuple[float, float]:
        """Lowest and highest mean that may come."""
        return -np.inf, np.inf


APART = 2**40
"""Between the episode indices by which the parts of one episode (segments, contexts) draw means of their own."""

Drawn = Annotated[UniformMeans | NormalMeans, Field(discriminator="kind")]
Means = Annotated[Fixed | Gap | UniformMeans | NormalMeans, Field(discriminator="kind")]


def _per_arm(n_arms: int, episodes: Ints, seed: int) -> Floats:
    return tape.uniform(tape.key(seed, Stream.MEANS, episodes[:, None], np.arange(n_arms)))


def _rotate(values: Floats | Sequence[float], episodes: Ints, seed: int) -> Floats:
    """`values`, rotated by `turns`."""
    turned: Floats = np.asarray(values)[turns(len(values), episodes, seed)]
    return turned


def turns(n_arms: int, episodes: Ints, seed: int) -> Ints:
    """[B, K] rotations of 0, ..., K - 1: any K episodes from a multiple of K on see each once, in a drawn order."""
    turn = (tape.uniform(tape.key(seed, Stream.POSITION, episodes // n_arms)) * n_arms).astype(np.int64)
    rotated: Ints = (np.arange(n_arms) - (episodes + turn)[:, None]) % n_arms
    return rotated
