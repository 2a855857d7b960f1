"""The best play there is against uniform priors: dynamic programming for two arms, Gittins' index for more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from icrl.agents.classical import CONFIG, Counting, Counts
from icrl.envs.types import Floats, Public, View

LONGEST = 100  # the table of decisions has (horizon + 1)^4 bytes
_TABLE = 300  # pulls of an arm beyond which its bonus is taken to fall as 1 / pulls
_GRID = 400


@dataclass(frozen=True, config=CONFIG)
class BayesOptimal(Counting):
    """Maximises the expected sum of rewards over the horizon, for two Bernoulli arms with uniform priors.

    Exact, by backward induction over the counts (Bellman 1956). A forfeited step is not foreseen: the table is that of
    as many pulls as were made.
    """

    def refuses(self, public: Public) -> str | None:
        """Two Bernoulli arms and a horizon that fits into memory."""
        if public.n_arms != 2 or public.reward != "bernoulli" or public.variable or public.kind == "best-arm":
            return "it needs two Bernoulli arms that are always there"
        if public.horizon is None or public.horizon > LONGEST:
            return f"it needs a horizon of at most {LONGEST}, got {public.horizon}"
        return super().refuses(public)

    def index(self, state: Counts, view: View) -> Floats:
        """1 for a better arm, 0 for a worse one."""
        wins = np.rint(state.mean * state.pulls).astype(np.int64)
        n = state.pulls.sum(axis=1)
        table = decisions(state.public.horizon or 0)
        better = table[n, state.pulls[:, 0], wins[:, 0], wins[:, 1]]
        return np.stack([better >= 0, better <= 0], axis=1).astype(np.float64)


@cache
def decisions(horizon: int) -> NDArray[np.int8]:
    """[n, n0, s0, s1] after n pulls, n0 of arm 0, with s0 and s1 wins: 1 to play arm 0, -1 arm 1, 0 if they tie."""
    size = horizon + 1
    table = np.zeros((size, size, size, size), np.int8)
    for n, first, second in _induction(horizon):
        table[n, : n + 1, : n + 1, : n + 1] = np.sign(np.round(first - second, 12))
    return table


def value(horizon: int) -> float:
    """Expected sum of rewards of the best play over `horizon` steps."""
    best = 0.0
    for _, first, second in _induction(horizon):
        best = max(first[0, 0, 0], second[0, 0, 0])
    return float(best)


def _induction(horizon: int) -> Iterator[tuple[int, Floats, Floats]]:
    """What each arm is worth after n = horizon - 1, ..., 0 pulls."""
    after = np.zeros((horizon + 1, horizon + 1, horizon + 1))
    for n in range(horizon - 1, -1, -1):
        first, second = _worth(after, n)
        yield n, first, second
        after[: n + 1, : n + 1, : n + 1] = np.maximum(first, second)


def _worth(after: Floats, n: int) -> tuple[Floats, Floats]:
    """Expected rewards to come [n0, s0, s1] of playing arm 0, and of playing arm 1, after n pulls."""
    n0, s0, s1 = np.ogrid[: n + 1, : n + 1, : n + 1]
    p0, p1 = (s0 + 1) / (n0 + 2), (s1 + 1) / (n - n0 + 2)
    pulled = after[1 : n + 2, :, : n + 1]
    first = p0 * (1 + pulled[:, 1 : n + 2]) + (1 - p0) * pulled[:, : n + 1]
    other = after[: n + 1, : n + 1]
    second = p1 * (1 + other[:, :, 1 : n + 2]) + (1 - p1) * other[:, :, : n + 1]
    return first, second


@dataclass(frozen=True, config=CONFIG)
class Gittins(Counting):
    """Plays the highest Gittins index: the best play for Bernoulli arms when rewards are discounted (Gittins 1979).

    For a finite horizon T it is a good rule with a discount near 1 - 1/T, not the best one.

    Args:
        discount: Of each further step.
    """

    discount: Annotated[float, Field(gt=0, lt=1)] = 0.99

    def refuses(self, public: Public) -> str | None:
        """Rewards must be 0 or 1."""
        return super().refuses(public) or (None if public.reward == "bernoulli" else "it needs Bernoulli rewards")

    def index(self, state: Counts, view: View) -> Floats:
        """The index of each arm's wins and losses."""
        wins = np.rint(state.mean * state.pulls).astype(np.int64)
        table = gittins(self.discount)
        known = state.pulls < len(table)
        far = np.where(known, 1.0, (len(table) - 1) / np.maximum(state.pulls, 1))
        near = np.minimum(np.rint(wins * far).astype(np.int64), len(table) - 1)  # the same share of wins, in the table
        n = np.where(known, state.pulls, len(table) - 1)
        bonus = table[near, n - near] - (near + 1) / (n + 2)
        index: Floats = (wins + 1) / (state.pulls + 2) + far * bonus
        return index

    def advise(self, state: Counts, view: View) -> Mapping[str, Floats]:
        """Mean rewards and pulls; arms are ordered by their index."""
        return {**super().advise(state, view), "rank": self.index(state, view)}


@cache
def gittins(discount: float) -> Floats:
    """[wins, losses] Gittins indices under a uniform prior, for fewer than 300 pulls in all.

    By calibration (Gittins, Glazebrook and Weber 2011, section 8.4): for each of 400 sure rewards per step, the
    advantage of one more pull over retiring; where it changes sign, between two of them, is the index.
    """
    size = _TABLE + round(10 / (1 - discount)) if discount < 0.99 else _TABLE + 500
    sure = np.linspace(0, 1, _GRID)
    retired = sure / (1 - discount)
    total = np.arange(size + 1)
    worth = np.maximum(((total + 1) / (size + 2))[:, None] / (1 - discount), retired)  # at the edge: for ever
    table = np.zeros((_TABLE, _TABLE))
    for n in range(size - 1, -1, -1):
        wins = np.arange(n + 1)[:, None]
        p = (wins + 1) / (n + 2)
        go_on = p * (1 + discount * worth[1 : n + 2]) + (1 - p) * discount * worth[: n + 1]
        if n < _TABLE:
            table[np.arange(n + 1), n - np.arange(n + 1)] = _crossing(sure, go_on - retired)
        worth = np.maximum(go_on, retired)
    return table


def _crossing(sure: Floats, advantage: Floats) -> Floats:
    """[S] where the advantage [S, grid] of going on falls to 0, by linear interpolation."""
    last = np.maximum((advantage > 1e-12).sum(axis=1) - 1, 0)
    rows = np.arange(len(advantage))
    here, there = advantage[rows, last], advantage[rows, np.minimum(last + 1, len(sure) - 1)]
    step = np.where(here > there, here / np.where(here > there, here - there, 1.0), 0.0)
    crossing: Floats = sure[last] + step.clip(0, 1) * (sure[1] - sure[0])
    return crossing
