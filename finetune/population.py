"""The diaries that `pocket` is trained on: a population of players, tasks of all kinds, all ways to tell them."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from icrl.agents import EpsilonGreedy, Uniform
from icrl.envs.types import Public
from icrl.finetune.heldout import ARMS
from icrl.finetune.labels import Labels
from icrl.finetune.mixture import draw_prompt, draw_task
from icrl.finetune.players import Player, draw_player
from icrl.finetune.topic import Topic
from icrl.prompts import Prompt

SHORT = 4
"""Longest horizon of the first games."""
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
class Diaries:
    """A source of lessons; see `icrl.finetune.corpus`.

    Args:
        longest: Longest horizon, but for a few.
        warmup: Batches over which games grow from short ones with few arms, plainly told, to all there are: copying a
            label has to be learnt before weighing rewards can be.
        taught: Whether rows hold the players' policies, too; else they are texts.
    """

    longest: int = 200
    warmup: int = 6000
    taught: bool = True

    def __call__(self, rng: Generator, i: int) -> Topic:
        """What batch i is about."""
        grown = min(1.0, i / self.warmup)
        short = min(SHORT, self.longest)
        longest, arms = int(short + grown * (self.longest - short)), ARMS[: 3 + round(grown * (len(ARMS) - 3))]
        task = draw_task(rng, longest, arms, grown)
        player = draw_player(rng, task.public)
        prompt = draw_prompt(rng, task, player, bool(rng.random() < TAGGED), grown)
        if prompt.notes is not None and not prompt.system and rng.random() < FOLLOWED:
            player = Player("adviser", prompt.notes.adviser)  # type: ignore[arg-type]
        if not _plain(prompt, task.public):
            return Topic(task, prompt, player.agent, player.agent, None, WRONG)
        scattered = rng.random() < (1 - grown) * SCATTERED[0] + grown * SCATTERED[1]
        plays = SCATTER[rng.integers(2)] if scattered else player.agent
        labels = Labels("policy", player.agent, draws=DRAWS) if self.taught else None
        return Topic(task, prompt, plays, player.agent, labels)


def _plain(prompt: Prompt, public: Public) -> bool:
    """Whether an answer is one label that a classical algorithm's policy is known of."""
    return prompt.answer == "direct" and not prompt.games and public.slots == 1 and public.trials == 1
