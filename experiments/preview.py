"""What a model would be asked, without the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from icrl.agents import LLMAgent, Uniform, rollout
from icrl.envs import Episodes
from icrl.envs.types import Choice, Outcome
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


@dataclass(frozen=True)
class _Unasked:
    """A model of which nothing but the tokenizer is there."""

    tokenizer: Any
    window: int = 1 << 40
    name: str = "tokenizer"

    @property
    def facts(self) -> dict[str, str]:
        return {}

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        raise NotImplementedError


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
    task, tokenizer = experiment.build_task(), player.tokenizer()
    talker = LLMAgent(_Unasked(tokenizer), player.prompt)
    talker.check(task.public)
    runs = rollout(Uniform(), task, episodes=[episode], seed=experiment.seed)
    if step >= runs.horizon:
        raise ValueError(f"step: the task has {runs.horizon} steps, so one of 0 to {runs.horizon - 1}, got {step}")
    *_, before, now = [np.zeros(0, np.int32), *islice(_prompts(talker, runs), step + 1)]
    n = common(before, now) if step else 0
    again, new = (tokenizer.decode(ids) for ids in (now[:n], now[n:]))
    checked = lint(player.prompt, task, tokenizer, seed=experiment.seed)
    return Preview(name, again, new, len(now), n / len(now), checked)


def _prompts(talker: LLMAgent, runs: Episodes) -> Iterator[Tokens]:
    """What the model would read before each step of one episode."""
    row = np.zeros(1, np.int64)
    talk = talker.start(runs.public, None, runs.episode, runs.seed)
    for t in range(runs.horizon):
        view = runs.view(row, row + t)
        talk, (ids,) = talk.asked(view)
        yield ids.copy()
        outcome = Outcome(runs.rewards[row, t], row > 0, row > 0)
        talk = talk.answered(view, Choice(runs.arms[row, t].reshape(1, -1)), outcome)
