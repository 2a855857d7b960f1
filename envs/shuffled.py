"""A task whose arms stand in another order in each episode, so that nothing can be known of a place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import AnyWorld, Instances, Ints, Outcome, Public, Truth, View


@dataclass(frozen=True)
class ShuffledState:
    """Live rows."""

    order: Ints
    """[R, K] the task's arm at each place."""
    inside: tuple[Any]
    """Of the task."""


@dataclass(frozen=True)
class Shuffled:
    """A task with its arms in another order in each episode (Sinii et al. 2023, arXiv 2312.13327, for action sets).

    Args:
        task: Any world.
    """

    task: AnyWorld

    @property
    def public(self) -> Public:
        """That of the task."""
        return self.task.public

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """The truth, by place."""
        order, truth = self._order(episodes, seed), self.task.instances(episodes, seed)
        means = None if truth.means is None else np.take_along_axis(truth.means, order, axis=1)
        best = None if truth.best_arm is None else _places(order, truth.best_arm[:, None])[:, 0]
        return Instances(means, best)

    def start(self, episodes: Ints, seed: int) -> ShuffledState:
        """The first state of these episodes."""
        return ShuffledState(self._order(episodes, seed), (self.task.start(episodes, seed),))

    def view(self, state: ShuffledState) -> View:
        """What the task shows, by place."""
        view = self.task.view(state.inside[0])
        legal, context = np.take_along_axis(view.legal, state.order, axis=1), view.context
        if context is not None and self.public.per_arm:
            context = np.take_along_axis(context, state.order[:, :, None], axis=1)
        return replace(view, legal=legal, context=context)

    def step(self, state: ShuffledState, arm: Ints) -> tuple[ShuffledState, Outcome, Truth]:
        """A step of the task, with the arms at these places; -1 forfeits it."""
        arms = np.where(arm < 0, arm, np.take_along_axis(state.order, np.maximum(arm, 0), axis=1))
        inside, outcome, truth = self.task.step(state.inside[0], arms)
        best = np.where(truth.best < 0, truth.best, _places(state.order, np.maximum(truth.best, 0)))
        return replace(state, inside=(inside,)), outcome, Truth(truth.gap, best)

    def _order(self, episodes: Ints, seed: int) -> Ints:
        """[B, K]"""
        u = tape.uniform(tape.key(seed, Stream.ORDER, episodes[:, None], np.arange(self.public.n_arms)))
        return np.asarray(u.argsort(axis=1))


def _places(order: Ints, arms: Ints) -> Ints:
    """[R, n] where the task's arms stand."""
    return np.take_along_axis(np.asarray(order.argsort(axis=1)), arms, axis=1)
