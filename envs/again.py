"""The same game several times, for whom one play of it is to be compared with others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from icrl.envs.types import AnyWorld, Instances, Ints, Outcome, Public, Truth, View


@dataclass(frozen=True)
class AgainState:
    """Live rows."""

    episode: Ints
    inside: tuple[Any]
    """Of the task."""


@dataclass(frozen=True)
class Again:
    """A task in which `times` episodes in a row are one game: they have the same luck, and players of their own.

    Args:
        task: Any world.
        times: How often each of its episodes is played: i of it is i * times, ..., i * times + times - 1 of this.
    """

    task: AnyWorld
    times: int

    @property
    def public(self) -> Public:
        """That of the task."""
        return self.task.public

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """The truth about the games."""
        return self.task.instances(episodes // self.times, seed)

    def start(self, episodes: Ints, seed: int) -> AgainState:
        """The first state of the games."""
        return AgainState(episodes, (self.task.start(episodes // self.times, seed),))

    def view(self, state: AgainState) -> View:
        """What the task shows; agents draw by the episode, so each play has draws of its own."""
        return replace(self.task.view(state.inside[0]), episode=state.episode)

    def step(self, state: AgainState, arm: Ints) -> tuple[AgainState, Outcome, Truth]:
        """A step of the task."""
        inside, outcome, truth = self.task.step(state.inside[0], arm)
        return replace(state, inside=(inside,)), outcome, truth
