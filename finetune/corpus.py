"""Synthetic games as training rows, without an end: what they are about is drawn by a source.

Batch `i` is a pure function of (source, seed, i): nothing is stored, and training continues anywhere. Label words are
drawn anew for each episode (Sinii et al. 2023, arXiv 2312.13327). Their luck is kept from evaluations (`heldout.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator

from icrl.agents import Stating, rollout
from icrl.envs import Episodes
from icrl.envs.regret import final_regret
from icrl.envs.types import AnyWorld
from icrl.finetune.answers import labels, shares, thoughts
from icrl.finetune.diary import Answers, Row, diary, grows
from icrl.finetune.heldout import EVALUATION_SEEDS
from icrl.finetune.population import Diaries
from icrl.finetune.topic import Source, Topic
from icrl.prompts import Chat, Pieces, Prompt, Writer
from icrl.prompts.chat import ChatTokenizer

TOKENS = 1_500
"""About how many a batch has, without its demonstrations."""
STEP, REST = 9, 160
"""Tokens of a step, and of what stands around the steps, about."""
MOST = 32
"""Most episodes of a batch."""
DIARIES = Diaries()


@dataclass(frozen=True)
class Corpus:
    """A stream of batches, each a list of rows.

    Args:
        tokenizer: The student's tokenizer.
        seed: Which stream.
        source: Draws what a batch is about; by default the diaries that `pocket` reads.
        tokens: About how many a batch has; more where two rows already have more, as games of 1,000 steps and
            demonstrations have.
    """

    tokenizer: ChatTokenizer
    seed: int = 0
    source: Source = DIARIES
    tokens: int = TOKENS

    @cached_property
    def _pieces(self) -> Pieces:
        return Pieces(self.tokenizer)

    def writer(self, prompt: Prompt, task: AnyWorld) -> Writer:
        """Writes a diary."""
        return Writer(prompt, task.public, self._pieces, Chat.of(self.tokenizer, prompt.thinks))

    def batch(self, i: int) -> list[Row]:
        """The rows of batch `i`."""
        rng = np.random.default_rng((self.seed, i))
        topic, writer, played = self.games(i, rng)
        steps = played.horizon
        times = range(steps) if grows(writer) else topic.times(rng, steps)
        taught = topic.taught and topic.taught(played)
        return diary(writer, played, _answers(rng, writer, played, topic), times, taught)

    def games(self, i: int, rng: Generator) -> tuple[Topic, Writer, Episodes]:
        """What batch `i` tells, drawn with the generator of that batch: what it is about, and which episodes."""
        topic = self.source(rng, i)
        writer = self.writer(topic.prompt, topic.task)
        return topic, writer, _kept(self._played(rng, writer, topic), topic.keep)

    def _played(self, rng: Generator, writer: Writer, topic: Topic) -> Episodes:
        """Episodes with labels."""
        prompt, task = topic.prompt, topic.task
        agent = Stating(topic.plays) if prompt.shares else topic.plays  # type: ignore[arg-type]
        width = STEP * (task.public.horizon or 0) + REST if prompt.append_only else 3 * REST
        number = math.ceil(int(np.clip(self.tokens // width, 2, MOST)) / topic.keep)
        luck = len(EVALUATION_SEEDS) + int(rng.integers(2**40))
        played = rollout(agent, task, episodes=number, seed=luck)
        return played.named(prompt.names(task.public, played.episode, luck))


def _kept(played: Episodes, share: float) -> Episodes:
    """The episodes of least regret, as a share of uniform play's: some instances of a task are easier."""
    if share == 1.0:
        return played
    regret = final_regret(played)
    if played.means is not None:
        regret = regret / np.maximum(np.nanmax(played.means, axis=1) - np.nanmean(played.means, axis=1), 1e-12)
    return played.take(np.argsort(regret, kind="stable")[: max(1, int(share * len(played) + 1e-9))])


def _answers(rng: Generator, writer: Writer, played: Episodes, topic: Topic) -> Answers:
    """What is said, as the prompt asks for."""
    if writer.prompt.thinks:
        return thoughts(writer, played, topic.speaks, float(rng.choice(topic.wrong)), rng)
    return shares(writer, played) if writer.prompt.shares else labels(writer, played)
