"""The stationary bandit: how the means are drawn, the noise, the number of arms, the horizon."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from icrl.envs import tape
from icrl.envs.means import Means
from icrl.envs.noise import Bernoulli, Noise, paid, pull
from icrl.envs.spec import Spec
from icrl.envs.tape import Keys, Stream
from icrl.envs.types import Floats, Instances, Ints, Outcome, Public, Truth, View

Arms = Annotated[int, Field(ge=2)]
Horizon = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class BanditState:
    """Live rows of a bandit: arrays only, rows first."""

    episode: Ints
    t: Ints
    means: Floats
    highest: Floats
    """[R] mean of the best arm."""
    best: Ints
    luck: Keys
    """[R, K] one stream of rewards per arm, each at its next reward."""

    def having(self, means: Floats) -> Self:
        """The same rows with other means; -inf where an arm may not be chosen."""
        return replace(self, means=means, highest=means.max(axis=1), best=means.argmax(axis=1))


class MeansBandit(Spec):
    """What bandits have in common whose arms have a mean each: the n-th pull of an arm pays by (seed, episode, arm, n).

    A kind of bandit adds what it does otherwise: other means at other times (`envs/moving.py`), missing arms
    (`envs/sets.py`), another aim (`BestArm`).
    """

    n_arms: Arms
    horizon: Horizon
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
        return self._start(episodes, seed, self.means.draw(self.n_arms, episodes, seed))

    def _start(self, episodes: Ints, seed: int, means: Floats) -> BanditState:
        luck = tape.key(seed, Stream.REWARD, episodes[:, None], np.arange(self.n_arms))
        return BanditState(episodes, np.zeros_like(episodes), means, means.max(axis=1), means.argmax(axis=1), luck)

    def view(self, state: BanditState) -> View:
        """What may be seen: the episode, the time, and that every arm is legal."""
        legal = np.ones(state.means.shape, np.bool_)
        return View(state.episode, state.t, np.zeros_like(state.t), legal)

    def step(self, state: BanditState, arm: Ints) -> tuple[BanditState, Outcome, Truth]:
        """One pull per row; -1 forfeits the step. The streams of luck are advanced in place."""
        reward, gap = pull(self.noise, state.means, state.highest, state.luck, arm)
        state = replace(state, t=state.t + 1)
        return state, paid(reward, state.t, self.horizon), Truth(gap, state.best[:, None])


class Bandit(MeansBandit):
    """A stationary stochastic bandit."""

    kind: Literal["bandit"] = "bandit"


class BestArm(MeansBandit):
    """Best-arm identification with a fixed budget: of `horizon` choices only the last counts.

    The first horizon - 1 pulls explore and cost nothing; the last choice is the recommendation. Its gap is the simple
    regret, and it is an error if it names no best arm (Audibert, Bubeck and Munos 2010).
    """

    kind: Literal["best-arm"] = "best-arm"

    @property
    def public(self) -> Public:
        """All that an agent may know beforehand."""
        return replace(super().public, kind="best-arm")
