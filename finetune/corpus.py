"""Synthetic diaries: games drawn from a mixture, played by algorithms, labelled by a teacher, written by a prompt.

Batch `i` is a pure function of (seed, i): nothing is stored, and training continues anywhere. The player that acts
and the teacher that is imitated may differ, so that the student meets histories the teacher would not have made
(Lin, Bai and Mei 2023, arXiv 2310.08566). Label words are drawn anew for each episode (Sinii et al. 2023, arXiv
2312.13327). Seeds and words of evaluations are kept out (`heldout.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.random import Generator

from icrl.agents.base import AnyAgent
from icrl.agents.rollout import replay, rollout
from icrl.agents.simple import EpsilonGreedy, Uniform
from icrl.agents.sticky import Stubborn
from icrl.agents.thompson import ThompsonSampling
from icrl.agents.ucb import UCB
from icrl.envs import Bandit, Bernoulli, Episodes, Gap, Gaussian, NormalMeans, UniformMeans
from icrl.envs.types import Ints
from icrl.finetune.heldout import EVALUATION_SEEDS, STORIES, trained
from icrl.finetune.rows import Row, stem_row, summary_row
from icrl.prompts import Chat, Pieces, Prompt, Writer, scenarios
from icrl.prompts.chat import ChatTokenizer

ARMS = (2, 3, 4, 5, 6, 8, 9, 10)
"""Numbers of arms; 7 is held out."""

PLAYERS: tuple[tuple[float, AnyAgent], ...] = (
    (0.4, UCB(c=0.25)),
    (0.1, ThompsonSampling()),
    (0.15, EpsilonGreedy(epsilon=0.5)),
    (0.15, Uniform()),
    (0.1, Stubborn(stay=0.8)),
    (0.1, Stubborn(stay=0.95)),
)
"""The stubborn ones pull bad arms long and leave others untried, which no good player shows: a student that never saw
that takes "chosen often" for "good"."""
TEACHER = UCB(c=0.25)
"""Explores less than `UCB(c=1.0)`: its choices repeat, which a small model learns sooner."""


@dataclass(frozen=True)
class Corpus:
    """A stream of batches, each a list of rows that cost about the same.

    Args:
        tokenizer: The student's tokenizer.
        seed: Which stream.
        longest: Longest horizon; a batch's horizon is drawn between 5 and this.
        warmup: Batches over which games grow from short ones with few arms to all there are: copying a label has to
            be learnt before weighing rewards can be.
        episodes: Episodes per batch of raw histories.
    """

    tokenizer: ChatTokenizer
    seed: int = 0
    longest: int = 100
    warmup: int = 1500
    episodes: int = 16

    @cached_property
    def _pieces(self) -> Pieces:
        return Pieces(self.tokenizer)

    @cached_property
    def _chat(self) -> Chat:
        return Chat.of(self.tokenizer)

    def batch(self, i: int) -> list[Row]:
        """The rows of batch `i`."""
        rng = np.random.default_rng((self.seed, i))
        grown = min(1.0, i / self.warmup)
        prompt, short = draw_prompt(rng, grown), min(25, self.longest)
        task = draw_task(rng, int(short + grown * (self.longest - short)), ARMS[: 4 + round(grown * (len(ARMS) - 4))])
        player = PLAYERS[rng.choice(len(PLAYERS), p=[share for share, _ in PLAYERS])][1]
        writer = Writer(prompt, task.public, self._pieces, self._chat)
        luck = len(EVALUATION_SEEDS) + int(rng.integers(2**40))
        played = rollout(player, task, episodes=self.episodes, seed=luck)
        played = replace(played, names=prompt.names(task.public, played.episode, luck))
        teacher = np.stack([choice.arm[:, 0] for choice in replay(TEACHER, played)], axis=1)
        return _rows(writer, played, teacher, rng)


def _rows(writer: Writer, played: Episodes, teacher: Ints, rng: Generator) -> list[Row]:
    """Raw: one row per episode; summary: two decisions of each."""
    everyone, last = range(len(played)), played.horizon - 1
    if writer.prompt.append_only:
        return [stem_row(writer, played, b, teacher[b], last) for b in everyone]
    times = rng.integers(0, last + 1, (len(played), 2))
    return [summary_row(writer, played, b, teacher[b], int(t)) for b in everyone for t in times[b]]


def draw_prompt(rng: Generator, grown: float = 1.0) -> Prompt:
    """Scenario, history and layout of a batch; at the beginning mostly chats."""
    name = str(rng.choice(STORIES))
    history: Literal["raw", "summary"] = "summary" if rng.random() < 0.2 * grown else "raw"
    layout: Literal["turns", "log"] = "log" if rng.random() < 0.25 * grown else "turns"
    return Prompt(history, scenarios()[name], layout, labels=trained(name))


def draw_task(rng: Generator, longest: int, arms: tuple[int, ...]) -> Bandit:
    """A bandit: mostly Bernoulli, with gaps of all sizes."""
    horizon, k = int(rng.integers(5, longest + 1)), int(rng.choice(arms))
    means: UniformMeans | Gap
    if rng.random() < 0.05:
        sd = float(rng.choice([0.5, 1.0, 2.0]))
        return Bandit(n_arms=k, horizon=horizon + 1, means=NormalMeans(sd=sd), noise=Gaussian(sd=sd))
    if rng.random() < 0.5:
        means = UniformMeans()
    else:
        gap = float(rng.uniform(0.1, 0.7))
        means = Gap(best=float(rng.uniform(gap, 1.0)), gap=gap)
    return Bandit(n_arms=k, horizon=horizon + 1, means=means, noise=Bernoulli())
