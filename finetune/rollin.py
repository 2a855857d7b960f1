"""Whoever makes the histories of a decision-pretrained model, without looking at rewards."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from icrl.agents.classical import CONFIG, Algorithm, Rows
from icrl.agents.dice import Dice
from icrl.agents.simple import drawn
from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import Choice, Floats, Ints, Names, Outcome, Public, View


@plain_dataclass(frozen=True)
class Fixed(Rows):
    """What each row draws from at every step."""

    probs: Floats
    """[R, K]"""


@dataclass(frozen=True, config=CONFIG)
class RollIn(Algorithm[Fixed]):
    """Draws every arm of an episode from the same probabilities, which it draws for each episode.

    They are a mixture of a Dirichlet draw and of one arm alone, whose weight is one of 0, 1 / (levels - 1), ..., 1 (the
    code of Lee et al. 2023, arXiv 2306.14892, has 11 levels).
    """

    levels: Annotated[int, Field(ge=2)] = 11

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Fixed:
        """The probabilities of each episode."""
        k = public.n_arms
        u = tape.uniform(tape.key(seed, Stream.ROLLIN, episodes[:, None], np.arange(k + 2)))
        shares = -np.log(u[:, :k])  # exponential draws, whose shares are Dirichlet(1, ..., 1)
        alone = (u[:, k] * k).astype(np.int64)[:, None] == np.arange(k)
        weight = (u[:, k + 1] * self.levels).astype(np.int64)[:, None] / (self.levels - 1)
        probs = (1 - weight) * shares / shares.sum(axis=1, keepdims=True) + weight * alone
        return Fixed(dice=Dice.of(self, episodes, seed), public=public, probs=probs)

    def policy(self, state: Fixed, view: View, draws: int = 0) -> Floats:
        """Exact; missing arms are left out. If they had all the probability, arms that are there are as likely."""
        there = np.where(view.legal, state.probs, 0.0)
        there = np.where(there.sum(axis=1, keepdims=True) > 0, there, view.legal)
        return np.asarray(there / there.sum(axis=1, keepdims=True))[:, None]

    def pick(self, state: Fixed, view: View, dice: Dice) -> Ints:
        """A draw."""
        return drawn(self.policy(state, view)[:, 0], dice)

    def update(self, state: Fixed, view: View, choice: Choice, outcome: Outcome) -> Fixed:
        """Nothing is learnt."""
        return state
