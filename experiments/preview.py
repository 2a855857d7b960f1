"""What a model would be asked, without the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from icrl.agents import LLMAgent, rollout
from icrl.agents.histories import anyone
from icrl.envs import Episodes
from icrl.envs.types import Choice, Outcome
from icrl.experiments.config import Experiment, served
from icrl.models.base import Answer, Query
from icrl.models.steering import SteeringVector
from icrl.prompts.lint import Lint, Step, common, lint, prompts_of


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
    exact: bool = True

    @property
    def facts(self) -> dict[str, str]:
        return {}

    def check_steering(self, vector: SteeringVector) -> None:
        """Nothing to check."""

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        raise NotImplementedError


def preview(experiment: Experiment, agent: str | None, step: int, episode: int = 0) -> Preview:
    """The prompt that an agent's model would read after steps of uniform play (duels: of RUCB); see `prompts_of`.

    Args:
        experiment: Its task and agents.
        agent: Its name; None: the first one with a model.
        step: How many steps.
        episode: Which episode.

    Raises:
        ValueError: There is no such agent or step, or the task cannot be told to it.
    """
    name, model = served(experiment, agent)
    task, tokenizer = experiment.build_task(), model.tokenizer()
    talker = LLMAgent(_Unasked(tokenizer), model.prompt)
    talker.check(task.public)
    runs = rollout(anyone(task.public), task, episodes=[episode], seed=experiment.seed)
    if step >= runs.horizon:
        raise ValueError(f"step: the task has {runs.horizon} steps, so one of 0 to {runs.horizon - 1}, got {step}")
    talk = talker.start(runs.public, None, runs.episode, runs.seed).talk
    *_, before, now = [np.zeros(0, np.int32), *islice(prompts_of(talk, _played(runs)), step + 1)]
    n = common(before, now) if step else 0
    again, new = (tokenizer.decode(ids) for ids in (now[:n], now[n:]))
    checked = lint(model.prompt, task, tokenizer, seed=experiment.seed)
    return Preview(name, again, new, len(now), n / len(now), checked)


def _played(runs: Episodes) -> Iterator[Step]:
    """The steps of one episode."""
    row = np.zeros(1, np.int64)
    for t in range(runs.horizon):
        outcome = Outcome(runs.rewards[row, t], row > 0, row > 0)
        yield runs.view(row, row + t), Choice(runs.arms[row, t].reshape(1, -1)), outcome
