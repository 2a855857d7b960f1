"""Algorithms that look at mean rewards only: greedy, its random variants, and chance."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy.special import softmax

from icrl.agents.classical import CONFIG, DRAWS, Counting, Counts, argmax, ties, untried
from icrl.agents.dice import Dice, drawn_from
from icrl.envs.types import Choice, Floats, Ints, Names, Outcome, Public, View

Rate = Annotated[float, Field(ge=0, le=1)]
Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, config=CONFIG)
class Uniform(Counting):
    """Every legal arm with the same probability."""

    def refuses(self, public: Public) -> str | None:
        """It may play several games, since it learns from none."""
        return super().refuses(replace(public, trials=1))

    def index(self, state: Counts, view: View) -> Floats:
        """All arms tie."""
        return np.zeros_like(state.mean)


@dataclass(frozen=True, config=CONFIG)
class Greedy(Counting):
    """Each arm once, in random order, then the best empirical mean."""

    def index(self, state: Counts, view: View) -> Floats:
        """The empirical mean, untried arms first."""
        return np.where(state.pulls, state.mean, np.inf)


@dataclass(frozen=True, config=CONFIG)
class EpsilonGreedy(Counting):
    """With probability `epsilon` a uniform legal arm, else as `Greedy`.

    With `decay` the probability at step t = 1, 2, ... is min(epsilon, decay / t) (Auer et al. 2002).

    Args:
        epsilon: By default 0.1, with `decay` 1.
        decay: What is divided by t; None: no decay.
    """

    epsilon: Rate | None = None
    decay: Above | None = None

    def rate(self, t: Ints) -> Floats:
        """[R] probability of exploring after `t` steps."""
        if self.decay is None:
            return np.full(t.shape, 0.1 if self.epsilon is None else self.epsilon)
        return np.minimum(1.0 if self.epsilon is None else self.epsilon, self.decay / (t + 1))

    def index(self, state: Counts, view: View) -> Floats:
        """The greedy index."""
        return np.where(state.pulls, state.mean, np.inf)

    def pick(self, state: Counts, view: View, dice: Dice) -> Ints:
        """The greedy arm, or any in the rows that explore."""
        explore = dice.uniform(1)[:, 0] < self.rate(view.t)
        return argmax(np.where(explore[:, None], 0.0, self.index(state, view)), view.legal, dice)[:, None]

    def policy(self, state: Counts, view: View, draws: int = DRAWS) -> Floats:
        """Exact."""
        rate, chance = self.rate(view.t)[:, None], ties(np.zeros_like(state.mean), view.legal)
        return (rate * chance + (1 - rate) * ties(self.index(state, view), view.legal))[:, None]


@plain_dataclass(frozen=True)
class Explored(Counts):
    """Counts, and what the arms paid at first."""

    first: Floats
    """[R, K] mean of the first rewards."""


@dataclass(frozen=True, config=CONFIG)
class ExploreThenCommit(Counting):
    """Every arm `pulls` times, in turns, then for ever the one that had the best mean.

    Where that arm is missing, the best of those that are there.
    """

    pulls: Annotated[int, Field(ge=1)] = 5

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Explored:
        """Nothing pulled yet."""
        return Explored.none(self, public, episodes, seed, first=np.zeros((len(episodes), public.n_arms), order="F"))

    def index(self, state: Counts, view: View) -> Floats:
        """Arms with few pulls first; then the best early mean: of equals, the one it committed itself to before."""
        assert isinstance(state, Explored)
        short = view.legal & (state.pulls < self.pulls)
        turn = np.where(short, -state.pulls.astype(np.float64), -np.inf)
        best, chosen_before = ties(state.first, view.legal) > 0, state.pulls > self.pulls
        commit = np.where(best, 1.0 + chosen_before, 0.0)
        return np.where(short.any(axis=1, keepdims=True), turn, commit)

    def update(self, state: Counts, view: View, choice: Choice, outcome: Outcome) -> Counts:
        """Counts a pull; an arm's first `pulls` rewards are those it is judged by."""
        assert isinstance(state, Explored)
        super().update(state, view, choice, outcome)
        np.copyto(state.first, state.mean, where=state.pulls <= self.pulls)
        return state


@dataclass(frozen=True, config=CONFIG)
class Boltzmann(Counting):
    """Each arm once, then arms with probabilities proportional to exp(mean / temperature)."""

    temperature: Above = 0.1

    def index(self, state: Counts, view: View) -> Floats:
        """The empirical mean, untried arms first."""
        return np.where(state.pulls, state.mean, np.inf)

    def policy(self, state: Counts, view: View, draws: int = DRAWS) -> Floats:
        """Exact."""
        new = untried(state, view)
        waiting = new.any(axis=1, keepdims=True)
        heat = np.where(view.legal, state.mean / self.temperature, -np.inf)
        return np.where(waiting, ties(new.astype(np.float64), view.legal), softmax(heat, axis=1))[:, None]

    def pick(self, state: Counts, view: View, dice: Dice) -> Ints:
        """A draw from the policy."""
        return drawn(self.policy(state, view)[:, 0], dice)


@dataclass(frozen=True, config=CONFIG)
class EmpiricalMean(Counting):
    """The best empirical mean among the arms that a log has tried: for offline data, beside `LCB`."""

    def index(self, state: Counts, view: View) -> Floats:
        """The empirical mean, untried arms last."""
        return np.where(state.pulls, state.mean, -np.inf)


def drawn(policy: Floats, dice: Dice) -> Ints:
    """[R, 1] an arm from probabilities [R, K], by inverse transform."""
    return drawn_from(policy[:, None], dice.uniform(1))
