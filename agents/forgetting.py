"""Algorithms for means that move: they forget, by discounting all they saw or by looking back a number of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from icrl.agents.classical import CONFIG, DRAWS, Algorithm, Rows, argmax, finite, noise_unknown
from icrl.agents.dice import Dice
from icrl.agents.posterior import Posterior, best_probability, beta, normal
from icrl.agents.simple import Above
from icrl.envs.types import Choice, Floats, Ints, Names, Outcome, Public, View

Discount = Annotated[float, Field(gt=0, lt=1)]


@plain_dataclass(frozen=True)
class Recent(Rows):
    """What is remembered; advanced in place."""

    weight: Floats
    """[R, K] discounted number of pulls, or those within the window."""
    total: Floats
    """[R, K] sum of rewards, weighted likewise."""

    @property
    def mean(self) -> Floats:
        """[R, K] 0 where nothing is remembered."""
        return self.total / np.where(self.weight > 0, self.weight, 1.0)


class _Forgetting(Algorithm[Recent]):
    """Sums that forget."""

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Recent:
        """Nothing remembered."""
        shape = (len(episodes), public.n_arms)
        return Recent(Dice.of(self, episodes, seed), public, np.zeros(shape), np.zeros(shape))

    def advise(self, state: Recent, view: View) -> Mapping[str, Floats]:
        """Mean and number of what is remembered."""
        return {"value": np.where(state.weight > 0, state.mean, np.nan), "count": state.weight}


def _discounted(state: Recent, discount: float, choice: Choice, outcome: Outcome) -> Recent:
    """All that is remembered counts less by `discount`; then the new pull is added."""
    state.weight[:] *= discount
    state.total[:] *= discount
    _added(state, choice.arm[:, 0], outcome.reward, 1.0)
    return state


def _added(state: Recent, arm: Ints, reward: Floats, sign: float) -> None:
    rows = np.flatnonzero(arm >= 0)
    state.weight[rows, arm[rows]] += sign
    state.total[rows, arm[rows]] += sign * reward[rows]


@dataclass(frozen=True, config=CONFIG)
class DiscountedUCB(_Forgetting):
    """Mean plus 2 sqrt(xi ln(N) / n), all sums discounted at every step (Garivier and Moulines 2011, D-UCB)."""

    discount: Discount = 0.98
    xi: Above = 0.5

    def _bonus(self, state: Recent) -> Floats:
        known = np.maximum(state.weight, 1e-12)
        total = np.log(np.maximum(state.weight.sum(axis=1, keepdims=True), 1.0))
        return np.where(state.weight > 1e-9, 2 * np.sqrt(self.xi * total / known), np.inf)

    def index(self, state: Recent, view: View) -> Floats:
        """Mean plus bonus; infinite for an arm that is forgotten."""
        return state.mean + self._bonus(state)

    def update(self, state: Recent, view: View, choice: Choice, outcome: Outcome) -> Recent:
        """Forgets a little, and adds the pull."""
        return _discounted(state, self.discount, choice, outcome)

    def advise(self, state: Recent, view: View) -> Mapping[str, Floats]:
        """Discounted mean and number, and the bonus."""
        return {**super().advise(state, view), "bonus": finite(self._bonus(state))}


@plain_dataclass(frozen=True)
class Window(Recent):
    """What the last steps were, in a ring."""

    arms: Ints
    """[R, window] -1 where there is nothing."""
    rewards: Floats
    """[R, window]"""


@dataclass(frozen=True, config=CONFIG)
class SlidingWindowUCB(_Forgetting):
    """Mean plus sqrt(xi ln(min(t, window)) / n) over the last `window` steps (Garivier and Moulines 2011, SW-UCB)."""

    window: Annotated[int, Field(ge=1)] = 100
    xi: Above = 0.6

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Window:
        """Nothing remembered."""
        shape = (len(episodes), self.window)
        empty = super().start(public, names, episodes, seed)
        return Window(**vars(empty), arms=np.full(shape, -1), rewards=np.zeros(shape))

    def _bonus(self, state: Recent, t: Ints) -> Floats:
        log = np.log(np.maximum(np.minimum(t, self.window), 1))[:, None]
        return np.where(state.weight > 0, np.sqrt(self.xi * log / np.maximum(state.weight, 1.0)), np.inf)

    def index(self, state: Recent, view: View) -> Floats:
        """Mean plus bonus; infinite for an arm that is forgotten."""
        return state.mean + self._bonus(state, view.t)

    def update(self, state: Recent, view: View, choice: Choice, outcome: Outcome) -> Recent:
        """Drops the step that leaves the window, and adds the new one."""
        assert isinstance(state, Window)
        rows, at = np.arange(len(view.t)), view.t % self.window
        _added(state, state.arms[rows, at], state.rewards[rows, at], -1.0)
        state.arms[rows, at], state.rewards[rows, at] = choice.arm[:, 0], outcome.reward
        _added(state, choice.arm[:, 0], outcome.reward, 1.0)
        return state

    def advise(self, state: Recent, view: View) -> Mapping[str, Floats]:
        """Mean and number within the window, and the bonus."""
        return {**super().advise(state, view), "bonus": finite(self._bonus(state, view.t))}


@dataclass(frozen=True, config=CONFIG)
class DiscountedThompson(_Forgetting):
    """Thompson sampling on discounted sums (Raj and Kalyani 2017): Beta(1, 1) priors, or N(mean, sd^2 / weight)."""

    discount: Discount = 0.98

    def refuses(self, public: Public) -> str | None:
        """The noise must be known."""
        return super().refuses(public) or noise_unknown(public)

    def posterior(self, state: Recent) -> Posterior:
        """What is believed of each arm's mean now; infinite for an arm that is forgotten, if rewards are Gaussian."""
        if state.public.reward == "bernoulli":
            return beta(1.0 + state.total, 1.0 + np.maximum(state.weight - state.total, 0.0))
        known = state.weight > 1e-9
        sd = (state.public.noise_sd or 0.0) / np.sqrt(np.where(known, state.weight, 1.0))
        return normal(np.where(known, state.mean, np.inf), sd)

    def pick(self, state: Recent, view: View, dice: Dice) -> Ints:
        """The best legal arm of one draw."""
        return argmax(self.posterior(state).draw(dice), view.legal, dice)[:, None]

    def policy(self, state: Recent, view: View, draws: int = DRAWS) -> Floats:
        """Exact, up to the error of a quadrature (below 1e-3)."""
        return best_probability(self.posterior(state), view.legal)[:, None]

    def update(self, state: Recent, view: View, choice: Choice, outcome: Outcome) -> Recent:
        """Forgets a little, and adds the pull."""
        return _discounted(state, self.discount, choice, outcome)

    def advise(self, state: Recent, view: View) -> Mapping[str, Floats]:
        """Posterior mean, discounted pulls, and the central 90 % of the posterior from `low` to `high`."""
        posterior = self.posterior(state)
        low, high = (finite(posterior.quantile(p)) for p in (0.05, 0.95))
        return {"value": finite(posterior.mean), "count": state.weight, "low": low, "high": high}
