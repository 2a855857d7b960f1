"""Best-arm identification with a fixed budget: the last step of the episode names the arm."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from dataclasses import replace

import numpy as np
from pydantic.dataclasses import dataclass

from icrl.agents.classical import CONFIG, DRAWS, Counting, Counts, argmax, ties
from icrl.agents.dice import Dice
from icrl.agents.posterior import Posterior, best_probability
from icrl.agents.simple import Rate, drawn
from icrl.agents.thompson import ThompsonSampling
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View

_TRIES = 20  # draws in search of a challenger; then it is drawn from its distribution


def _refuses(public: Public) -> str | None:
    if public.kind != "best-arm" or public.horizon is None:
        return f"only the last choice may count, at a known horizon; this task is of the kind {public.kind!r}"
    return None


@plain_dataclass(frozen=True)
class Halving(Counts):
    """Counts, and the arms still in the race."""

    alive: Bools
    """[R, K]"""
    since: Ints
    """[R, K] pulls in this round."""
    round_mean: Floats
    """[R, K] mean reward in this round."""


@dataclass(frozen=True, config=CONFIG)
class SuccessiveHalving(Counting):
    """Sequential halving (Karnin, Koren and Somekh 2013): the budget is shared by log2 K rounds, each drops half.

    The pulls that rounding leaves over go to the survivor.
    """

    def refuses(self, public: Public) -> str | None:
        """Only the last choice may count."""
        return super().refuses(public) or _refuses(public)

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Halving:
        """All arms are in the race."""
        shape = (len(episodes), public.n_arms)
        more = {"alive": np.ones(shape, np.bool_), "since": np.zeros(shape, np.int64), "round_mean": np.zeros(shape)}
        return Halving.none(self, public, episodes, seed, **more)

    def index(self, state: Counts, view: View) -> Floats:
        """Arms in the race by turns; at the end, the best mean among them."""
        assert isinstance(state, Halving)
        last = (view.t == (state.public.horizon or 0) - 1)[:, None]
        value = np.where(last & (state.since > 0), state.round_mean, np.where(last, state.mean, -state.since))
        return np.where(state.alive, value, -np.inf)

    def update(self, state: Counts, view: View, choice: Choice, outcome: Outcome) -> Counts:
        """Counts a pull; ends the round in the rows where every arm has had its share."""
        assert isinstance(state, Halving)
        super().update(state, view, choice, outcome)
        state.alive[:] &= view.legal
        rows = np.flatnonzero(choice.arm[:, 0] >= 0)
        at = rows, choice.arm[rows, 0]
        state.since[at] += 1
        state.round_mean[at] += (outcome.reward[rows] - state.round_mean[at]) / state.since[at]
        left, all_arms = state.alive.sum(axis=1), view.legal.sum(axis=1)
        rounds = np.maximum(np.ceil(np.log2(all_arms)), 1)
        share = np.maximum(((state.public.horizon or 1) - 1) // (left * rounds), 1)
        done = (left > 1) & ((state.since >= share[:, None]) | ~state.alive).all(axis=1)
        if done.any():
            self._halve(state, np.flatnonzero(done), (left + 1) // 2)
        return state

    @staticmethod
    def _halve(state: Halving, rows: Ints, keep: Ints) -> None:
        """Drops the lower half of the arms, ties at random, and begins a round."""
        tie = state.dice.uniform(state.alive.shape[1])[rows] * 1e-9
        rank = np.argsort(
            np.argsort(-np.where(state.alive[rows], state.round_mean[rows] + tie, -np.inf), axis=1), axis=1
        )
        state.alive[rows] &= rank < keep[rows, None]
        state.since[rows], state.round_mean[rows] = 0, 0.0


@dataclass(frozen=True, config=CONFIG)
class TopTwoThompson(ThompsonSampling):
    """Top-two Thompson sampling (Russo 2016): the best arm of a draw, or the best of a draw in which it is another.

    Args:
        leader: Probability of playing the first of the two.
    """

    leader: Rate = 0.5

    def refuses(self, public: Public) -> str | None:
        """Only the last choice may count."""
        return super().refuses(public) or _refuses(public)

    def pick(self, state: Counts, view: View, dice: Dice) -> Ints:
        """The leader or its challenger; at the end, the highest posterior mean."""
        posterior, last = self.posterior(state), self._last(state, view)
        arm = argmax(np.where(last, self._value(state), posterior.draw(dice)), view.legal, dice)
        leader = arm.copy()
        contested = ~last & ~_waiting(posterior, view) & (view.legal.sum(axis=1, keepdims=True) > 1)
        challenged = (contested & (dice.uniform(1) >= self.leader))[:, 0]
        rows, inside = np.flatnonzero(challenged), self.take(replace(state, dice=dice), challenged)
        for _ in range(_TRIES):
            if not len(rows):
                return arm[:, None]
            arm[rows] = argmax(self.posterior(inside).draw(inside.dice), view.legal[rows], inside.dice)
            again = arm[rows] == leader[rows]
            rows, inside = rows[again], self.take(inside, again)
        best = _best(self.posterior(inside), view.legal[rows])
        arm[rows] = drawn(challengers(best, leader[rows]), inside.dice)[:, 0]
        return arm[:, None]

    def policy(self, state: Counts, view: View, draws: int = DRAWS) -> Floats:
        """Exact, up to the error of a quadrature (below 1e-3)."""
        posterior = self.posterior(state)
        best = _best(posterior, view.legal)
        leaders = np.arange(best.shape[1])
        second = sum(best[:, [i]] * challengers(best, np.full(len(best), i)) for i in leaders.tolist())
        mixed = np.where(_waiting(posterior, view), best, self.leader * best + (1 - self.leader) * second)
        named = ties(self._value(state), view.legal)
        policy = np.where(self._last(state, view), named, mixed / mixed.sum(axis=1, keepdims=True))
        return np.asarray(policy)[:, None]

    def _value(self, state: Counts) -> Floats:
        """[R, K] posterior means; the plain mean, if any, of an arm that has none yet."""
        mean = self.posterior(state).mean
        return np.where(np.isfinite(mean), mean, np.where(state.pulls, state.mean, -np.inf))

    def _last(self, state: Counts, view: View) -> Bools:
        """[R, 1]"""
        return np.asarray(view.t == (state.public.horizon or 0) - 1)[:, None]


def _waiting(posterior: Posterior, view: View) -> Bools:
    """[R, 1] whether there are arms to be tried first."""
    return np.asarray((np.isinf(posterior.mean) & view.legal).any(axis=1, keepdims=True))


def _best(posterior: Posterior, legal: Bools) -> Floats:
    """[R, K] probability of being best, above zero for all legal arms."""
    return np.where(legal, np.maximum(best_probability(posterior, legal), 1e-300), 0.0)


def challengers(best: Floats, leader: Ints) -> Floats:
    """[R, K] probability of each arm of being the best of a draw in which the leader is not; 0 if it always is."""
    rivals = best.copy()
    rivals[np.arange(len(best)), leader] = 0.0
    total = rivals.sum(axis=1, keepdims=True)
    return rivals / np.where(total > 0, total, 1.0)
