"""What a batch of training rows is about."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from numpy.random import Generator

from icrl.agents.base import AnyAgent
from icrl.envs import Episodes
from icrl.envs.types import AnyWorld, Floats
from icrl.prompts import Prompt


def two(rng: Generator, steps: int) -> Collection[int]:
    """Two of the steps at most: where each decision is a row of its own, they cost much."""
    return set(rng.integers(0, steps, 2).tolist())


@dataclass(frozen=True)
class Topic:
    """What a batch is about."""

    task: AnyWorld
    prompt: Prompt
    plays: AnyAgent
    """Who makes the history."""
    speaks: AnyAgent
    """In whose words thoughts are."""
    taught: Callable[[Episodes], Floats] | None = None
    """[B, T, K] the policy that is to be learnt at each step; None for what was played."""
    wrong: tuple[float, ...] = (0.0,)
    """How often numbers of a thought are wrong; one of these."""
    keep: float = 1.0
    """The share of the episodes that are learnt, those of least regret; so many more are played."""
    times: Callable[[Generator, int], Collection[int]] = two
    """Which of so many steps are learnt, where each is a row of its own."""


Source = Callable[[Generator, int], Topic]
"""Draws the topic of batch i."""
