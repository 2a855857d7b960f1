"""EXP3: exponential weights over estimated losses, for rewards that an adversary may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass

import numpy as np
from pydantic.dataclasses import dataclass
from scipy.special import softmax

from icrl.agents.classical import CONFIG, DRAWS, Counting, Counts
from icrl.agents.dice import Dice
from icrl.agents.simple import Above, drawn
from icrl.envs.types import Choice, Floats, Ints, Names, Outcome, Public, View

_FLOOR = 1e-9  # of the probability that a loss is divided by


@plain_dataclass(frozen=True)
class Losses(Counts):
    """Counts, and the estimated losses."""

    loss: Floats
    """[R, K] sum of importance-weighted losses."""


@dataclass(frozen=True, config=CONFIG)
class EXP3(Counting):
    """Plays arms with probabilities proportional to exp(-rate * loss); a loss is (1 - reward) / its probability.

    Source: Bubeck and Cesa-Bianchi 2012, section 3.1. The rate is sqrt(2 ln K / (T K)) unless given.
    """

    rate: Above | None = None

    def refuses(self, public: Public) -> str | None:
        """Losses lie in [0, 1], and the rate follows from the horizon."""
        if public.reward != "bernoulli":
            return "its rewards must lie in [0, 1]"
        unknown = public.horizon is None and self.rate is None
        return super().refuses(public) or ("it needs a horizon, or a rate" if unknown else None)

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Losses:
        """No losses yet."""
        return Losses.none(self, public, episodes, seed, loss=np.zeros((len(episodes), public.n_arms)))

    def policy(self, state: Counts, view: View, draws: int = DRAWS) -> Floats:
        """Exact."""
        assert isinstance(state, Losses)
        k = state.public.n_arms
        rate = self.rate or np.sqrt(2 * np.log(k) / ((state.public.horizon or 1) * k))
        weights: Floats = softmax(np.where(view.legal, -rate * state.loss, -np.inf), axis=1)
        return weights[:, None]

    def pick(self, state: Counts, view: View, dice: Dice) -> Ints:
        """A draw from the policy."""
        return drawn(self.policy(state, view)[:, 0], dice)

    def update(self, state: Counts, view: View, choice: Choice, outcome: Outcome) -> Counts:
        """Adds the loss of the arm that was played."""
        assert isinstance(state, Losses)
        rows = np.flatnonzero(choice.arm[:, 0] >= 0)
        at = rows, choice.arm[rows, 0]
        # The floor is met only where another player chose the arm.
        state.loss[at] += (1 - outcome.reward[rows]) / np.maximum(self.policy(state, view)[:, 0][at], _FLOOR)
        return super().update(state, view, choice, outcome)

    def advise(self, state: Counts, view: View) -> Mapping[str, Floats]:
        """Mean rewards, pulls, and the probability of each arm as its `value`."""
        return {**super().advise(state, view), "value": self.policy(state, view)[:, 0]}
