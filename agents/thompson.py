"""Thompson sampling, and the exact probability of being best behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from typing import Literal

import numpy as np
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from icrl.agents.classical import CONFIG, DRAWS, Counting, Counts, argmax, finite, noise_unknown, ties
from icrl.agents.dice import Dice
from icrl.agents.posterior import Posterior, best_probability, beta, normal, student
from icrl.agents.simple import Above
from icrl.envs.means import Finite
from icrl.envs.types import Choice, Floats, Ints, Names, Outcome, Public, View


@plain_dataclass(frozen=True)
class Moments(Counts):
    """Counts, and the spread of the rewards."""

    squares: Floats
    """[R, K] sum of squared deviations from the mean."""


@dataclass(frozen=True, config=CONFIG)
class ThompsonSampling(Counting):
    """Plays the best arm of one draw from the posterior of the means (Thompson 1933).

    Bernoulli rewards have Beta posteriors. Gaussian ones with `variance="known"`: the task's standard deviation, and a
    flat prior unless one is given, so that an arm's posterior is N(mean, sd^2 / n), each arm once first. With
    `variance="unknown"`: the reference prior 1 / variance, hence Student posteriors with n - 1 degrees of
    freedom, each arm three times first (Honda and Takemura 2014, who show that an unlucky beginning may cost this
    prior much).

    Args:
        prior: Bernoulli: a and b of a Beta prior, by default (1, 1). Gaussian with known variance: mean and standard
            deviation of a normal prior, by default flat.
        variance: Whether the task's noise is believed.
    """

    prior: tuple[Finite, Above] | None = None
    variance: Literal["known", "unknown"] = "known"

    @model_validator(mode="after")
    def _one_prior(self) -> ThompsonSampling:
        if self.prior is not None and self.variance == "unknown":
            raise ValueError(f"prior: with variance='unknown' the prior is 1 / variance, got {self.prior}")
        return self

    def refuses(self, public: Public) -> str | None:
        """The noise must be known, or be learnt."""
        if public.reward == "bernoulli" and self.prior is not None and self.prior[0] <= 0:
            return f"a Beta prior needs two positive numbers, got {self.prior}"
        unknown = noise_unknown(public) if self.variance == "known" else None
        return super().refuses(public) or (f"{unknown}: give variance='unknown'" if unknown else None)

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Counts:
        """Nothing pulled yet."""
        squares = np.zeros((len(episodes), public.n_arms), order="F")
        return Moments.none(self, public, episodes, seed, squares=squares)

    def update(self, state: Counts, view: View, choice: Choice, outcome: Outcome) -> Counts:
        """Counts a pull; a forfeited step changes nothing."""
        assert isinstance(state, Moments)
        if self.variance == "known":
            return super().update(state, view, choice, outcome)
        rows = np.flatnonzero(choice.arm[:, 0] >= 0)
        at, reward = (rows, choice.arm[rows, 0]), outcome.reward[rows]
        off = reward - state.mean[at]
        super().update(state, view, choice, outcome)  # in place
        state.squares[at] += off * (reward - state.mean[at])  # Welford
        return state

    def posterior(self, state: Counts) -> Posterior:
        """What is believed of each arm's mean; of infinite mean until the arm has been tried as often as it must."""
        n = state.pulls
        if state.public.reward == "bernoulli":
            a, b = self.prior or (1.0, 1.0)
            wins = state.mean * n
            return beta(a + wins, b + n - wins)
        if self.variance == "unknown":
            assert isinstance(state, Moments)
            ready = n >= 3
            return student(np.where(ready, state.mean, np.inf), np.where(ready, state.squares, 0.0), np.maximum(n, 3))
        variance = min(max(state.public.noise_sd or 0.0, 1e-150), 1e150) ** 2  # above zero, and finite
        if self.prior is None:
            return normal(np.where(n, state.mean, np.inf), np.sqrt(variance) * np.where(n, state.width, 0.0))
        precision = n / variance + 1 / self.prior[1] ** 2
        return normal((state.mean * n / variance + self.prior[0] / self.prior[1] ** 2) / precision, precision**-0.5)

    def sample(self, state: Counts, dice: Dice) -> Floats:
        """[R, K] one draw from the posterior of each mean."""
        return self.posterior(state).draw(dice)

    def pick(self, state: Counts, view: View, dice: Dice) -> Ints:
        """The best legal arm of one draw."""
        return argmax(self.sample(state, dice), view.legal, dice)[:, None]

    def policy(self, state: Counts, view: View, draws: int = DRAWS) -> Floats:
        """Exact, up to the error of a quadrature (below 1e-3)."""
        return best_probability(self.posterior(state), view.legal)[:, None]

    def advise(self, state: Counts, view: View) -> Mapping[str, Floats]:
        """Posterior mean and pulls, and the central 90 % of the posterior from `low` to `high`."""
        posterior = self.posterior(state)
        low, high = (finite(posterior.quantile(p)) for p in (0.05, 0.95))
        count = state.pulls.astype(np.float64)
        return {"value": finite(posterior.mean), "count": count, "low": low, "high": high}


@dataclass(frozen=True, config=CONFIG)
class MostLikelyBest(ThompsonSampling):
    """Plays the arm that is best with the highest posterior probability, which is exact: no draw is made."""

    def index(self, state: Counts, view: View) -> Floats:
        """The probability of being best among the legal arms."""
        return best_probability(self.posterior(state), view.legal)

    def pick(self, state: Counts, view: View, dice: Dice) -> Ints:
        """The arm with the highest probability."""
        return argmax(self.index(state, view), view.legal, dice)[:, None]

    def policy(self, state: Counts, view: View, draws: int = DRAWS) -> Floats:
        """Exact."""
        return ties(self.index(state, view), view.legal)[:, None]

    def advise(self, state: Counts, view: View) -> Mapping[str, Floats]:
        """As Thompson sampling, and the probability of being `best`."""
        best = self.index(state, view)
        return {**super().advise(state, view), "best": best, "rank": best}
