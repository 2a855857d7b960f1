"""Model selection while playing: CORRAL's log-barrier mirror descent over agents, with a budget of model calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from icrl.agents.base import AnyAgent
from icrl.agents.hybrid import CONFIG, Both, Hybrid, Player, merged
from icrl.agents.simple import Above
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View

_HALVINGS = 60


@dataclass(frozen=True, config=CONFIG)
class Corral(Hybrid):
    """Learns which of two agents to follow (Agarwal et al. 2017; with a language model: Chen, Zhang and Zhu 2024).

    At each step one of the two is drawn and its arm is played. The weights move by log-barrier mirror descent on
    importance-weighted losses 1 - reward, kept above `floor`; all agents see every step. After `budget` calls in an
    episode the model is not followed, or asked, again. Left out: the paper raises the rate of an agent whose
    probability falls below a threshold.

    Args:
        llm: The costly agent.
        algorithm: The cheap one.
        budget: Most steps of an episode at which `llm` is asked; None: no bound.
        rate: Of learning.
        floor: Least probability of each agent while the budget lasts.
    """

    llm: Player
    algorithm: Player
    budget: Annotated[int, Field(ge=0)] | None = None
    rate: Above = 0.1
    floor: Annotated[float, Field(gt=0, lt=0.5)] = 0.01

    @property
    def players(self) -> tuple[AnyAgent, ...]:
        """The two."""
        return self.llm, self.algorithm

    def check(self, public: Public) -> None:
        """Raises ValueError unless rewards lie in [0, 1] and both can play."""
        super().check(public)
        if public.reward != "bernoulli":
            raise ValueError(f"agent: Corral needs rewards in [0, 1], the task's are {public.reward}")

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Both:
        """Both agents as likely; no calls yet."""
        state, r = super().start(public, names, episodes, seed), len(episodes)
        return replace(state, extra=(np.full(r, 0.5), np.zeros(r, np.int64)))

    def share(self, state: Both) -> Floats:
        """[R] probability of following the model at this step."""
        weight, calls = state.extra
        share = self.floor + (1 - 2 * self.floor) * weight
        return np.where(calls < self.budget, share, 0.0) if self.budget is not None else share

    def follows(self, state: Both, view: View) -> Bools:
        """[R] whether the model is followed: a function of the state, so that it need not be stored."""
        return np.asarray(self.luck(state, view) < self.share(state))

    def act(self, state: Both, view: View) -> tuple[Both, Choice]:
        """The drawn agent's arm."""
        first = self.follows(state, view)
        state, ours = self.ask(0, state, view, first)
        state, theirs = self.ask(1, state, view, ~first)
        return state, merged(first, ours, theirs, state.names)

    def update(self, state: Both, view: View, choice: Choice, outcome: Outcome) -> Both:
        """Moves the weights by what the followed agent earned; a forfeited step counts as reward 0."""
        first, share = self.follows(state, view), self.share(state)
        loss = 1 - np.nan_to_num(outcome.reward)
        weight, calls = state.extra
        ours, theirs = (
            np.where(first, loss / np.maximum(share, self.floor), 0.0),
            np.where(first, 0.0, loss / (1 - share)),
        )
        learns = share > 0  # without a choice between the two there is nothing to learn
        weight = np.where(learns, mirrored(weight, ours, theirs, self.rate), weight)
        return super().update(replace(state, extra=(weight, calls + first)), view, choice, outcome)


def mirrored(weight: Floats, ours: Floats, theirs: Floats, rate: float) -> Floats:
    """[R] the first of two weights after a step of log-barrier mirror descent on these losses.

    The new weights w solve 1/w_i = 1/weight_i + rate (loss_i - m) with m such that they sum to 1; m lies between the
    losses (Agarwal et al. 2017, algorithm 2), and is found by bisection.
    """
    low, high = np.minimum(ours, theirs), np.maximum(ours, theirs)
    for _ in range(_HALVINGS):
        m = (low + high) / 2
        total = _weight(weight, ours - m, rate) + _weight(1 - weight, theirs - m, rate)
        low, high = np.where(total < 1, m, low), np.where(total < 1, high, m)
    return _weight(weight, ours - (low + high) / 2, rate).clip(1e-6, 1 - 1e-6)


def _weight(before: Floats, loss: Floats, rate: float) -> Floats:
    """A weight after a loss; infinite beyond the pole, where the loss is too far below."""
    inverse = 1 / before + rate * loss
    return np.where(inverse > 0, 1 / np.where(inverse > 0, inverse, 1.0), np.inf)
