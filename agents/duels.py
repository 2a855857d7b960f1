"""Dueling algorithms: a choice is a pair of arms, and its reward says whether the first was preferred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass

import numpy as np
from pydantic.dataclasses import dataclass

from icrl.agents.classical import CONFIG, DRAWS, Algorithm, Rows, argmax, sampled
from icrl.agents.dice import Dice
from icrl.agents.simple import Above
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View


@plain_dataclass(frozen=True)
class Wins(Rows):
    """Who beat whom; advanced in place."""

    wins: Floats
    """[R, K, K] how often the row's arm was preferred to the column's."""
    champion: Bools
    """[R, K] the one arm that is thought to beat all others, if any (RUCB)."""


class _Duelling(Algorithm[Wins]):
    """Counts of preferences, and the bounds on their probabilities; a subclass has the field `alpha`."""

    alpha: float

    def refuses(self, public: Public) -> str | None:
        """A choice must be a pair."""
        return None if public.slots == 2 else f"it chooses two arms per step, the task asks for {public.slots}"

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Wins:
        """No duels yet."""
        r, k = len(episodes), public.n_arms
        return Wins(Dice.of(self, episodes, seed), public, np.zeros((r, k, k)), np.zeros((r, k), np.bool_))

    def update(self, state: Wins, view: View, choice: Choice, outcome: Outcome) -> Wins:
        """Counts a duel; one of an arm with itself tells nothing."""
        first, second = choice.arm.T
        told = (first >= 0) & (second >= 0) & (first != second)
        winner, loser = np.where(outcome.reward == 1, (first, second), (second, first))
        rows = np.flatnonzero(told)
        state.wins[rows, winner[rows], loser[rows]] += 1
        return state

    def bounds(self, state: Wins, t: Ints) -> tuple[Floats, Floats]:
        """[R, K, K] lower and upper bound, after `t` steps, of how often the row's arm beats the column's.

        Both are 1/2 for an arm against itself; where two arms never met, 0 / 0 counts as 1 (as in both papers).
        """
        n = state.wins + state.wins.swapaxes(1, 2)
        log = np.log(t + 1)[:, None, None]
        share = np.divide(state.wins, n, out=np.ones_like(n), where=n > 0)
        width = np.sqrt(np.divide(self.alpha * log, n, out=np.ones_like(n), where=n > 0))
        k = np.arange(n.shape[1])
        low, high = share - width, share + width
        low[:, k, k] = high[:, k, k] = 0.5
        return low, high

    def exact(self, public: Public) -> bool:
        """Never."""
        return False

    def policy(self, state: Wins, view: View, draws: int = DRAWS) -> Floats:
        """By Monte Carlo."""
        return sampled(self, state, view, draws)

    def advise(self, state: Wins, view: View) -> Mapping[str, Floats]:
        """Share of its duels that each arm won, and their number."""
        won, lost = state.wins.sum(axis=2), state.wins.sum(axis=1)
        share = np.divide(won, won + lost, out=np.full_like(won, np.nan), where=won + lost > 0)
        return {"value": share, "count": won + lost}


@dataclass(frozen=True, config=CONFIG)
class RUCB(_Duelling):
    """Relative upper confidence bounds (Zoghi et al. 2014): a potential champion against its toughest rival."""

    alpha: Above = 0.51

    def _candidates(self, state: Wins, high: Floats) -> tuple[Bools, Bools]:
        """[R, K] arms that may beat all others, and the champion among them."""
        candidates = np.asarray((high >= 0.5).all(axis=2))
        alone = candidates.sum(axis=1, keepdims=True) == 1
        return candidates, np.asarray(np.where(alone, candidates, state.champion & candidates))

    def update(self, state: Wins, view: View, choice: Choice, outcome: Outcome) -> Wins:
        """Keeps the champion of the step, too; here and not in `act`, so that it can be folded over any history."""
        state.champion[:] = self._candidates(state, self.bounds(state, view.t)[1])[1]
        return super().update(state, view, choice, outcome)

    def pick(self, state: Wins, view: View, dice: Dice) -> Ints:
        """The champion half of the time, else any other candidate; then the arm most likely to beat it."""
        high = self.bounds(state, view.t)[1]
        candidates, champion = self._candidates(state, high)
        others = candidates & ~champion
        crowned, contested = (arms.any(axis=1, keepdims=True) for arms in (champion, others))
        half = dice.uniform(1) < 0.5
        pool = np.where(crowned & (half | ~contested), champion, others)  # if there is none, all arms tie
        first = argmax(pool.astype(np.float64), view.legal, dice)
        rows = np.arange(len(first))
        against = high[rows, :, first]
        against[rows, first] -= 1e-6  # among ties another arm than the first
        return np.stack([first, argmax(against, view.legal, dice)], axis=1)


@dataclass(frozen=True, config=CONFIG)
class DoubleThompson(_Duelling):
    """Double Thompson sampling (Wu and Liu 2016, D-TS): both arms are drawn from Beta posteriors of the preferences."""

    alpha: Above = 0.51

    def pick(self, state: Wins, view: View, dice: Dice) -> Ints:
        """The arm that beats most others in one draw, among those that may; then its best rival in another draw."""
        low, high = self.bounds(state, view.t)
        r, k, _ = low.shape
        other = ~np.eye(k, dtype=np.bool_) & view.legal[:, None]
        score = ((high > 0.5) & other).sum(axis=2)
        score = np.where(view.legal, score, -1)
        drawn = self._draw(state, dice)
        beaten = ((drawn > 0.5) & other).sum(axis=2).astype(np.float64)
        first = argmax(np.where(score == score.max(axis=1, keepdims=True), beaten, -np.inf), view.legal, dice)
        rows = np.arange(r)
        rival = self._draw(state, dice)[rows, :, first]
        rival[rows, first] = 0.5
        open_ = low[rows, :, first] <= 0.5  # not yet known to beat the first
        return np.stack([first, argmax(np.where(open_, rival, -np.inf), view.legal, dice)], axis=1)

    @staticmethod
    def _draw(state: Wins, dice: Dice) -> Floats:
        """[R, K, K] preferences drawn for each pair once, so that they are complementary."""
        r, k, _ = state.wins.shape
        i, j = np.triu_indices(k, 1)
        drawn = np.full((r, k, k), 0.5)
        drawn[:, i, j] = dice.beta(1 + state.wins[:, i, j], 1 + state.wins[:, j, i])
        drawn[:, j, i] = 1 - drawn[:, i, j]
        return drawn
