"""Synthetic diaries: games drawn from a mixture, played by a population, told by prompts of all kinds.

Batch `i` is a pure function of (seed, i): nothing is stored, and training continues anywhere. Label words are drawn
anew for each episode (Sinii et al. 2023, arXiv 2312.13327). Seeds, words, a scenario and a number of arms are kept for
evaluations (`heldout.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.random import Generator

from icrl.agents import EpsilonGreedy, Stating, Uniform, replay, rollout
from icrl.agents.base import AnyAgent
from icrl.envs import Episodes
from icrl.envs.types import AnyWorld, Floats
from icrl.finetune.answers import labels, shares, thoughts
from icrl.finetune.diary import Answers, Row, diary, grows
from icrl.finetune.heldout import ARMS, EVALUATION_SEEDS
from icrl.finetune.mixture import draw_prompt, draw_task
from icrl.finetune.players import Player, draw_player
from icrl.prompts import Chat, Pieces, Prompt, Writer
from icrl.prompts.chat import ChatTokenizer

TOKENS = 1_500
"""About how many a batch has, without its demonstrations."""
STEP, REST = 9, 160
"""Tokens of a step, and of what stands around the steps, about."""
SHORT = 4
"""Longest horizon of the first games."""
MOST = 32
"""Most episodes of a batch."""
WRONG = (0.0, 0.0, 0.1, 0.3)
"""How often numbers of a thought are wrong, in a batch."""
TAGGED = 0.5
FOLLOWED = 0.7
"""How often hints are followed, in diaries without a tag."""
SCATTER = (Uniform(), EpsilonGreedy(epsilon=0.5))
SCATTERED = (0.8, 0.3)
"""How often one of these makes a plain history instead of the player, at first and later: most players stay where they
are, so in their own histories repeating the last label is nearly always right, and weighing rewards is not learnt.
"""
DRAWS = 32
"""For the policies of players that have no exact one."""


@dataclass(frozen=True)
class Corpus:
    """A stream of batches, each a list of rows.

    Args:
        tokenizer: The student's tokenizer.
        seed: Which stream.
        longest: Longest horizon, but for a few.
        warmup: Batches over which games grow from short ones with few arms, plainly told, to all there are: copying a
            label has to be learnt before weighing rewards can be.
        tokens: About how many a batch has; more where two rows already have more, as games of 1,000 steps and
            demonstrations have.
    """

    tokenizer: ChatTokenizer
    seed: int = 0
    longest: int = 200
    warmup: int = 6000
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
        writer, played, player = self.games(i, rng)
        last = played.horizon - 1
        times = [last] if grows(writer) else np.unique(rng.integers(0, last + 1, 2)).tolist()
        return diary(
            writer, played, _answers(rng, writer, played, player.agent), times, _taught(writer, played, player)
        )

    def games(self, i: int, rng: Generator) -> tuple[Writer, Episodes, Player]:
        """What batch `i` tells, drawn with the generator of that batch: how, which episodes, and who plays."""
        grown = min(1.0, i / self.warmup)
        short = min(SHORT, self.longest)
        longest, arms = int(short + grown * (self.longest - short)), ARMS[: 3 + round(grown * (len(ARMS) - 3))]
        task = draw_task(rng, longest, arms, grown)
        player = draw_player(rng, task.public)
        prompt = draw_prompt(rng, task, player, bool(rng.random() < TAGGED), grown)
        writer = self.writer(prompt, task)
        if prompt.notes is not None and not prompt.system and rng.random() < FOLLOWED:
            player = Player("adviser", prompt.notes.adviser)  # type: ignore[arg-type]
        scattered = _plain(writer) and rng.random() < (1 - grown) * SCATTERED[0] + grown * SCATTERED[1]
        return writer, self._played(rng, writer, task, SCATTER[rng.integers(2)] if scattered else player.agent), player

    def _played(self, rng: Generator, writer: Writer, task: AnyWorld, agent: AnyAgent) -> Episodes:
        """Episodes with labels."""
        prompt = writer.prompt
        agent = Stating(agent) if prompt.shares else agent  # type: ignore[arg-type]
        width = STEP * (task.public.horizon or 0) + REST if prompt.append_only else 3 * REST
        number = int(np.clip(self.tokens // width, 2, MOST))
        luck = len(EVALUATION_SEEDS) + int(rng.integers(2**40))
        played = rollout(agent, task, episodes=number, seed=luck)
        return replace(played, names=prompt.names(task.public, played.episode, luck))


def _plain(writer: Writer) -> bool:
    """Whether an answer is one label that a classical algorithm's policy is known of."""
    prompt, public = writer.prompt, writer.public
    return prompt.answer == "direct" and not prompt.games and public.slots == 1 and public.trials == 1


def _taught(writer: Writer, played: Episodes, player: Player) -> Floats | None:
    """[B, T, K] what the player would do at each step, whoever played."""
    if not _plain(writer):
        return None
    stating = Stating(player.agent, draws=DRAWS)  # type: ignore[arg-type]
    stated = [choice.probs for choice in replay(stating, played)]
    return np.stack([probs[:, 0] for probs in stated if probs is not None], axis=1)


def _answers(rng: Generator, writer: Writer, played: Episodes, player: AnyAgent) -> Answers:
    """What is said, as the prompt asks for."""
    if writer.prompt.thinks:
        return thoughts(writer, played, player, float(rng.choice(WRONG)), rng)
    return shares(writer, played) if writer.prompt.shares else labels(writer, played)
