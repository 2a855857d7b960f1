"""Contextual bandits whose means are linear in what is seen: parameters per arm, or shared among arms with features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from icrl.envs import tape
from icrl.envs.bandit import Arms, Horizon
from icrl.envs.means import Drawn, NormalMeans
from icrl.envs.noise import Gaussian, paid, pull
from icrl.envs.spec import Spec
from icrl.envs.tape import Keys, Stream
from icrl.envs.types import Floats, Instances, Ints, Outcome, Public, Truth, View
from icrl.envs.words import told


@dataclass(frozen=True)
class ContextState:
    """Live rows of a contextual bandit."""

    episode: Ints
    t: Ints
    context: Floats
    """[R, d], or [R, K, d] where each arm has features of its own."""
    weights: Floats
    """[R, K, d] parameters per arm, or [R, 1, d] shared ones."""
    stream: Keys
    """As `context`: the streams that contexts are drawn from."""
    luck: Keys
    """[R, K]"""


class Linear(Spec):
    """A linear contextual bandit.

    Attributes:
        n_arms: K.
        horizon: T.
        dim: d, the length of a context vector.
        shared: False: a context [d] is seen and arm k pays context . weights[k] on average (LinUCB's setting, Li et
            al. 2010). True: each arm has features [d], and pays features . weights with one vector of weights (Lin,
            Bai and Mei 2023; Lee et al. 2023).
        weights: How each weight is drawn, anew for each episode.
        contexts: How each coordinate of contexts or features is drawn.
        drawn: When contexts are drawn: at each `step`, once per `episode`, or once for the whole `task`, the same in
            all episodes and for all seeds.
        noise: Of the rewards.
        text: Whether views hold the context in words too, rounded to two decimals.
    """

    kind: Literal["linear"] = "linear"
    n_arms: Arms
    horizon: Horizon
    dim: Annotated[int, Field(ge=1)]
    shared: bool = False
    weights: Drawn = NormalMeans()
    contexts: Drawn = NormalMeans()
    drawn: Literal["step", "episode", "task"] = "step"
    noise: Gaussian = Gaussian()
    text: bool = False

    @property
    def public(self) -> Public:
        """All that an agent may know beforehand."""
        known = Public("contextual", self.n_arms, self.horizon, "gaussian", self.noise.sd)
        return replace(known, context_dim=self.dim, per_arm=self.shared)

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """Nothing: means depend on the context."""
        return Instances()

    def start(self, episodes: Ints, seed: int) -> ContextState:
        """The first state of these episodes."""
        rows, items = episodes[:, None, None], np.arange(self.dim)
        arms = np.arange(self.n_arms)[:, None]
        weights = tape.key(seed, Stream.MEANS, rows, arms[:1] if self.shared else arms, items)
        where = (0, np.zeros_like(rows)) if self.drawn == "task" else (seed, rows)
        stream = tape.key(where[0], Stream.CONTEXT, where[1], arms if self.shared else arms[:1], items)
        stream = stream if self.shared else stream[:, 0]
        luck = tape.key(seed, Stream.REWARD, episodes[:, None], np.arange(self.n_arms))
        context = self.contexts.quantile(tape.uniform(stream))
        drawn = self.weights.quantile(tape.uniform(weights))
        return ContextState(episodes, np.zeros_like(episodes), context, drawn, stream, luck)

    def view(self, state: ContextState) -> View:
        """What may be seen: the context of this step."""
        legal = np.ones(state.luck.shape, np.bool_)
        obs = told(state.context) if self.text else None
        return View(state.episode, state.t, np.zeros_like(state.t), legal, state.context, obs)

    def step(self, state: ContextState, arm: Ints) -> tuple[ContextState, Outcome, Truth]:
        """One pull per row; then the next context comes."""
        pairs = (state.context, state.weights[:, 0]) if self.shared else (state.weights, state.context)
        means = (pairs[0] @ pairs[1][:, :, None])[:, :, 0]
        reward, gap = pull(self.noise, means, means.max(axis=1), state.luck, arm)
        best = means.argmax(axis=1)[:, None]
        state = replace(state, t=state.t + 1)
        if self.drawn == "step":
            stream = tape.following(state.stream)
            state = replace(state, stream=stream, context=self.contexts.quantile(tape.uniform(stream)))
        return state, paid(reward, state.t, self.horizon), Truth(gap, best)
