"""A task whose rewards are told in another unit, so that tasks of different kinds are alike in what is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from icrl.envs.types import AnyWorld, Instances, Ints, Outcome, Public, Truth, View


@dataclass(frozen=True)
class Scaled:
    """A task with all rewards, and so means and regret, times a number; the state is the task's own.

    Args:
        task: Any world.
        scale: The number.

    Raises:
        ValueError: The number is not above 0, or the task is of duels.
    """

    task: AnyWorld
    scale: float

    def __post_init__(self) -> None:
        if not 0 < self.scale < float("inf"):
            raise ValueError(f"scale: must be a number above 0, got {self.scale}")
        if self.task.public.slots > 1:
            raise ValueError(f"scale: duels have winners and no rewards, so it must be 1, got {self.scale}")

    @property
    def public(self) -> Public:
        """That of the task; of rewards 0 and 1 it only remains that they are numbers."""
        public = self.task.public
        if public.reward == "bernoulli":
            return replace(public, reward="gaussian", noise_sd=None)
        return replace(public, noise_sd=None if public.noise_sd is None else self.scale * public.noise_sd)

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """The truth, in the new unit."""
        truth = self.task.instances(episodes, seed)
        return replace(truth, means=None if truth.means is None else self.scale * truth.means)

    def start(self, episodes: Ints, seed: int) -> Any:
        """The task's."""
        return self.task.start(episodes, seed)

    def view(self, state: Any) -> View:
        """The task's."""
        return self.task.view(state)

    def step(self, state: Any, arm: Ints) -> tuple[Any, Outcome, Truth]:
        """A step of the task, in the new unit."""
        state, outcome, truth = self.task.step(state, arm)
        return state, replace(outcome, reward=self.scale * outcome.reward), replace(truth, gap=self.scale * truth.gap)
