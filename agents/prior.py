"""Thompson sampling that begins with what a language model believes of the labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from icrl.agents.base import AnyAgent
from icrl.agents.classical import argmax
from icrl.agents.dice import Keyed
from icrl.agents.hybrid import CONFIG, Both, Hybrid, Player, labelled, of_one_game
from icrl.agents.llm import LLMAgent
from icrl.envs.types import USAGE, Choice, Ints, Names, Outcome, Public, View

_UNKNOWN = "its answers have no probabilities; use answer='direct', and a model that tells them"


@dataclass(frozen=True, config=CONFIG)
class PriorThompson(Hybrid):
    """Asks `llm` once per episode, before anything is known; then samples from Beta posteriors.

    An arm's prior is Beta(1 + strength q, 1 + strength (1 - q)), where q is the model's probability of the arm over
    that of its favourite, so `strength` is the number of pulls that the model's opinion is worth.
    """

    llm: Player
    strength: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0

    @property
    def players(self) -> tuple[AnyAgent, ...]:
        """The model."""
        return (self.llm,)

    @property
    def block(self) -> int | None:
        """Any batch."""
        return None

    def check(self, public: Public) -> None:
        """Raises ValueError unless rewards are 0 or 1 and the model can play."""
        super().check(public)
        of_one_game(self, public)
        if isinstance(self.llm, LLMAgent) and not (self.llm.scores or self.llm.prompt.shares):
            raise ValueError(f"llm: {_UNKNOWN}")
        if public.reward != "bernoulli":
            raise ValueError(f"agent: PriorThompson needs Bernoulli rewards, the task's are {public.reward}")

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Both:
        """The model's opinion, and no wins yet.

        Raises:
            ValueError: The model gives no probabilities (`answer: free`).
        """
        state, shape = super().start(public, names, episodes, seed), (len(episodes), public.n_arms)
        zero = np.zeros(len(episodes), np.int64)
        view = View(episodes, zero, zero, np.ones(shape, np.bool_))
        _, choice = self.llm.act(self.llm.start(public, state.names, episodes, seed), view)
        if choice.probs is None:
            raise ValueError(f"llm: {_UNKNOWN}")
        opinion = choice.probs[:, 0] / choice.probs[:, 0].max(axis=1, keepdims=True)
        usage = np.full((len(episodes), len(USAGE)), -1) if choice.usage is None else choice.usage
        return replace(state, extra=(opinion, np.zeros(shape), usage))

    def act(self, state: Both, view: View) -> tuple[Both, Choice]:
        """The best arm of one draw; the tokens that the opinion cost are those of the first step."""
        opinion, wins, usage = state.extra
        a = 1 + self.strength * opinion + wins
        b = 1 + self.strength * (1 - opinion) + state.pulls - wins
        dice = Keyed.at(self, view.episode, state.seed, view.t)
        arm = argmax(dice.beta(a, b), view.legal, dice)
        text = labelled([None] * len(arm), arm, state.names)
        return state, Choice(arm[:, None], text=text, usage=np.where((view.t == 0)[:, None], usage, -1))

    def update(self, state: Both, view: View, choice: Choice, outcome: Outcome) -> Both:
        """Counts the pull; the model hears nothing of it."""
        rows = np.flatnonzero(choice.arm[:, 0] >= 0)
        state.pulls[rows, choice.arm[rows, 0]] += 1
        state.extra[1][rows, choice.arm[rows, 0]] += outcome.reward[rows]
        return state
