"""What a model would be asked, without the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from icrl.agents import LLMAgent, Uniform, replay, rollout
from icrl.experiments.config import Experiment, served
from icrl.models.base import Answer, Query, Tokens
from icrl.prompts.lint import Lint, common, lint


@dataclass(frozen=True)
class Preview:
    """One prompt: what of it stood in the prompt before, and the rest."""

    agent: str
    again: str
    new: str
    tokens: int
    share: float
    """Of its tokens, those that stood in the prompt before."""
    lint: Lint


@dataclass
class _Reader:
    """Reads prompts, and prefers no answer."""

    tokenizer: Any
    window: int = 1 << 40
    name: str = "reader"
    read: list[Tokens] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, str]:
        return {}

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        self.read.append(queries[0].ids.copy())
        return [Answer((0, 0, 0), np.full(n, -np.log(n)), 1.0) for n in (len(q.choices or "-") for q in queries)]


def preview(experiment: Experiment, agent: str | None, step: int, episode: int = 0) -> Preview:
    """The prompt that an agent's model would read after some steps of uniform play.

    Args:
        experiment: Its task and agents.
        agent: Its name; None: the first one with a model.
        step: How many steps.
        episode: Which episode.

    Raises:
        ValueError: There is no such agent or step, or the task cannot be told to it.
    """
    name, player = served(experiment, agent)
    task, reader = experiment.build_task(), _Reader(player.tokenizer())
    talker = LLMAgent(reader, replace(player.prompt, answer="direct"))
    talker.check(task.public)
    runs = rollout(Uniform(), task, episodes=[episode], seed=experiment.seed)
    if step >= runs.horizon:
        raise ValueError(f"step: the task has {runs.horizon} steps, so one of 0 to {runs.horizon - 1}, got {step}")
    named = replace(runs, names=player.prompt.names(task.public, runs.episode, experiment.seed))
    list(islice(replay(talker, named), step + 1))
    now, before = reader.read[step], reader.read[max(step - 1, 0)]
    n = common(before, now) if step else 0
    again, new = (reader.tokenizer.decode(ids) for ids in (now[:n], now[n:]))
    checked = lint(player.prompt, task, reader.tokenizer, seed=experiment.seed)
    return Preview(name, again, new, len(now), n / len(now), checked)
