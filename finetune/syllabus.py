"""What a distillation is about: tasks, prompts and players drawn by their shares, and whose choices are learnt."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.random import Generator

from icrl.agents.base import AnyAgent
from icrl.envs.types import AnyWorld
from icrl.finetune.labels import OF_TEACHER, Label, Labels, Oracle
from icrl.finetune.topic import Topic
from icrl.prompts import Prompt

T = TypeVar("T")


@dataclass(frozen=True)
class Shares(Generic[T]):
    """Things, and how often each comes."""

    things: tuple[T, ...]
    weights: tuple[float, ...]

    def draw(self, rng: Generator) -> T:
        """One of them."""
        p = np.array(self.weights) / sum(self.weights)
        return self.things[int(rng.choice(len(p), p=p))]


Tasks = Shares[Callable[[Generator], AnyWorld]]
"""Each draws a task."""
Telling = Callable[[Generator, AnyWorld], Prompt]
"""Draws how a task is told."""


@dataclass(frozen=True)
class Syllabus:
    """A source of topics for `icrl.finetune.corpus.Corpus`.

    Args:
        tasks: Each draws a task.
        prompt: Draws how that task is told.
        players: Who make the histories, given the prompt, which the model itself reads when it is one of them.
        label: What is learnt of them; see `icrl.finetune.labels.Label`.
        teacher: Whose choices are learnt, for labels that need one.
        per_episode: How many decisions of an episode are drawn, to be learnt once each, where each is a row of its own,
            as of summaries: early ones more often, since later ones differ less.
    """

    tasks: Tasks
    prompt: Telling
    players: Shares[Callable[[Prompt], AnyAgent]]
    label: Label
    teacher: AnyAgent | None = None
    per_episode: int = 16
    keep: float = 1.0
    """The share of each batch's episodes that are learnt: those of least regret."""

    def __call__(self, rng: Generator, i: int) -> Topic:
        """What batch i is about."""
        task = self.tasks.draw(rng)(rng)
        prompt = self.prompt(rng, task)
        plays = self.players.draw(rng)(prompt)
        labels = self.labels(task) if self._plain(prompt) else None
        return Topic(task, prompt, plays, plays, labels, times=self.times, keep=self.keep)

    def _plain(self, prompt: Prompt) -> bool:
        """Whether an answer is a label and nothing else; of any other one only what was said can be learnt."""
        if prompt.answer == "direct":
            return True
        if self.label != "taken":
            raise ValueError(
                f"label: with answer={prompt.answer!r} only what was taken can be learnt, as a teacher says nothing "
                f"before or beside its choice; give label='taken', got {self.label!r}"
            )
        return False

    def labels(self, task: AnyWorld) -> Labels:
        """What is learnt on a task."""
        teacher = self.teacher if self.label in OF_TEACHER else None
        return Labels(self.label, teacher, Oracle(task) if self.label == "optimal" else None)

    def times(self, rng: Generator, steps: int) -> Collection[int]:
        """Steps to learn, drawn evenly over orders of magnitude."""
        drawn = np.exp(rng.uniform(0, np.log(steps + 1), self.per_episode)).astype(np.int64) - 1
        return set(drawn.tolist())
