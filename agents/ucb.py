"""Confidence bounds: the mean plus (or, offline, minus) a width that shrinks with pulls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from scipy.special import rel_entr

from icrl.agents.classical import CONFIG, Counting, Counts, finite, noise_unknown
from icrl.agents.simple import Above
from icrl.envs.types import Floats, Ints, Public, View

_HALVINGS = 30  # of an interval within [0, 1]: an error of 1e-9


@dataclass(frozen=True, config=CONFIG)
class UCB(Counting):
    """Upper confidence bounds: each arm once, then the highest mean plus bonus.

    The bonus is `sqrt(alpha * ln t / n)`: alpha = 2 is UCB1 (Auer et al. 2002) and the default, alpha = 0.5 is
    EVOLvE's (Nie et al. 2024). With `c` instead it is `sqrt(c / n)`, which does not grow with time (Krishnamurthy
    et al. 2024 use c = 1).

    Raises:
        ValueError: Both `alpha` and `c` are given, or one of them is not positive.
    """

    alpha: Above | None = None
    c: Above | None = None

    @model_validator(mode="after")
    def _one_bonus(self) -> UCB:
        if self.alpha is not None and self.c is not None:
            raise ValueError(f"give alpha (bonus sqrt(alpha ln t / n)) or c (bonus sqrt(c / n)), not both: {self}")
        return self

    def scale(self, t: Ints) -> Floats:
        """[R] the factor of 1/sqrt(n) in the bonus after `t` steps."""
        if self.c is not None:
            return np.full(t.shape, np.sqrt(self.c))
        alpha = 2.0 if self.alpha is None else self.alpha
        return np.sqrt(alpha * np.log(np.maximum(t, 1 + 1e-12)))  # above zero, so that 0 * inf is never met

    def index(self, state: Counts, view: View) -> Floats:
        """Mean plus bonus; infinite for an untried arm."""
        bonus = state.width * self.scale(view.t)[:, None]
        bonus += state.mean
        return bonus

    def advise(self, state: Counts, view: View) -> Mapping[str, Floats]:
        """Mean rewards, pulls, and the bonus."""
        return {**super().advise(state, view), "bonus": finite(state.width * self.scale(view.t)[:, None])}


@dataclass(frozen=True, config=CONFIG)
class KLUCB(Counting):
    """The highest mean that the rewards do not rule out: n * KL(mean, q) <= ln t + c ln ln t (Garivier and Cappé 2011).

    Bernoulli rewards by the Bernoulli divergence; Gaussian ones by (q - mean)^2 / (2 sd^2), so that the bonus is
    sd * sqrt(2 (...) / n). Asymptotically as good as any algorithm can be (Lai and Robbins 1985).
    """

    c: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def refuses(self, public: Public) -> str | None:
        """It must know the rewards' distribution up to the mean."""
        return super().refuses(public) or noise_unknown(public)

    def index(self, state: Counts, view: View) -> Floats:
        """The upper bound; infinite for an untried arm."""
        log = np.log(np.maximum(view.t, 1 + 1e-12))  # above zero, so that 0 * inf is never met
        level = (log + self.c * np.log(np.maximum(log, 1)))[:, None] * state.width**2
        if state.public.reward == "gaussian":
            sd = state.public.noise_sd or 1e-9  # rewards without noise: above zero, for the same reason
            return state.mean + sd * np.sqrt(2 * level)
        known = np.where(np.isinf(level), 0.0, level)
        return np.where(np.isinf(state.width), np.inf, upper(state.mean, known))

    def advise(self, state: Counts, view: View) -> Mapping[str, Floats]:
        """Mean rewards, pulls, and how far the bound is above the mean."""
        return {**super().advise(state, view), "bonus": finite(self.index(state, view) - state.mean)}


def upper(mean: Floats, level: Floats) -> Floats:
    """The largest q with kl(mean, q) <= level, for Bernoulli means: by bisection below Pinsker's bound."""
    low, high = mean.copy(), np.minimum(mean + np.sqrt(level / 2), 1.0)
    for _ in range(_HALVINGS):
        q = (low + high) / 2
        inside = rel_entr(mean, q) + rel_entr(1 - mean, 1 - q) <= level
        low, high = np.where(inside, q, low), np.where(inside, high, q)
    return np.where(level > 0, (low + high) / 2, mean)


@dataclass(frozen=True, config=CONFIG)
class MOSS(Counting):
    """Mean plus sqrt(max(0, ln(T / (K n))) / n): minimax optimal over T steps (Audibert and Bubeck 2009).

    For Gaussian rewards the bonus is scaled by 2 sd, which is 1 for rewards in [0, 1].
    """

    def refuses(self, public: Public) -> str | None:
        """It is made for a horizon, and for a known noise."""
        if public.horizon is None:
            return "it needs a horizon"
        return super().refuses(public) or noise_unknown(public)

    def _bonus(self, state: Counts) -> Floats:
        ratio = (state.public.horizon or 1) / (state.public.n_arms * np.maximum(state.pulls, 1))
        sd = 0.5 if state.public.reward == "bernoulli" else state.public.noise_sd or 0.0
        bonus = 2 * sd * np.sqrt(np.log(np.maximum(ratio, 1.0)) / np.maximum(state.pulls, 1))
        return np.where(state.pulls, bonus, np.inf)

    def index(self, state: Counts, view: View) -> Floats:
        """Mean plus bonus; infinite for an untried arm."""
        return state.mean + self._bonus(state)

    def advise(self, state: Counts, view: View) -> Mapping[str, Floats]:
        """Mean rewards, pulls, and the bonus."""
        return {**super().advise(state, view), "bonus": finite(self._bonus(state))}


@dataclass(frozen=True, config=CONFIG)
class LCB(Counting):
    """Pessimism for offline data: the highest mean minus sqrt(c / n).

    An untried arm counts as one pull that paid 0 (Lee et al. 2023, with c = 1; pessimism: Rashidinejad et al. 2021).
    Good where a log shows the good arms often, bad where it does not; online it would stay with what it tried first.
    """

    c: Above = 1.0

    def index(self, state: Counts, view: View) -> Floats:
        """Mean minus the width."""
        return state.mean - np.sqrt(self.c / np.maximum(state.pulls, 1))

    def advise(self, state: Counts, view: View) -> Mapping[str, Floats]:
        """Mean rewards, pulls, and the bonus, which is negative."""
        bonus = -np.sqrt(self.c / np.maximum(state.pulls, 1))
        return {**super().advise(state, view), "bonus": bonus, "rank": self.index(state, view)}
