"""Bandits whose arms are not always there: another number in each episode, or some of them missing at some steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from icrl.envs import tape
from icrl.envs.bandit import Arms, BanditState, MeansBandit
from icrl.envs.means import Fixed
from icrl.envs.tape import Keys, Stream
from icrl.envs.types import Floats, Instances, Ints, Outcome, Public, Truth, View


@dataclass(frozen=True)
class SetsState(BanditState):
    """Live rows; `means` are -inf where an arm is missing now."""

    all_means: Floats
    """[R, K] -inf where the episode has no such arm."""
    presence: Keys
    """[R, K] the streams that say which arms are there."""


class ActionSets(MeansBandit):
    """Variable action sets: each episode has `fewest` to `n_arms` arms, and at each step some of them may be missing.

    The gap is taken to the best arm that is there (sleeping bandits: Kleinberg, Niculescu-Mizil and Sharma 2010).

    Attributes:
        fewest: Fewest arms of an episode; their number is drawn uniformly from here to `n_arms`.
        present: Probability that an arm of the episode is there at a step; where none is, all are.
    """

    kind: Literal["action-sets"] = "action-sets"
    fewest: Arms = 2
    present: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _range_fits(self) -> Self:
        if self.fewest > self.n_arms:
            raise ValueError(f"fewest must be at most n_arms, got {self.fewest} and {self.n_arms}")
        if isinstance(self.means, Fixed) and self.fewest < self.n_arms:
            raise ValueError(f"fewest must equal n_arms, {self.n_arms}, where means are fixed, got {self.fewest}")
        return self

    @property
    def public(self) -> Public:
        """All that an agent may know beforehand."""
        return replace(super().public, variable=True)

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """Means [B, K], NaN for arms that never come; best arms unless they may be missing."""
        means = self._means(episodes, seed)
        known = np.where(np.isinf(means), np.nan, means)
        return Instances(known, means.argmax(axis=1) if self.present == 1 else None)

    def start(self, episodes: Ints, seed: int) -> SetsState:
        """The first state of these episodes."""
        means = self._means(episodes, seed)
        keys = tape.key(seed, Stream.PRESENCE, episodes[:, None], np.arange(self.n_arms))
        return self._drawn(SetsState(**vars(self._start(episodes, seed, means)), all_means=means, presence=keys))

    def view(self, state: BanditState) -> View:
        """What may be seen: the episode, the time, and which arms are there."""
        return View(state.episode, state.t, np.zeros_like(state.t), state.means > -np.inf)

    def step(self, state: BanditState, arm: Ints) -> tuple[BanditState, Outcome, Truth]:
        """One pull per row; then others may be there."""
        after, outcome, truth = super().step(state, arm)
        assert isinstance(after, SetsState)
        return self._drawn(after), outcome, truth

    def _means(self, episodes: Ints, seed: int) -> Floats:
        luck = tape.uniform(tape.key(seed, Stream.ARMS, episodes))
        k = self.fewest + (luck * (self.n_arms - self.fewest + 1)).astype(np.int64)
        means = np.full((len(episodes), self.n_arms), -np.inf)
        for size in np.unique(k).tolist():
            means[k == size, :size] = self.means.draw(size, episodes[k == size], seed)
        return means

    def _drawn(self, state: SetsState) -> SetsState:
        """The arms of the next step."""
        if self.present == 1:
            return state
        there = np.where(tape.uniform(state.presence) < self.present, state.all_means, -np.inf)
        none = there.max(axis=1) == -np.inf
        there[none] = state.all_means[none]
        return replace(state.having(there), presence=tape.following(state.presence))
