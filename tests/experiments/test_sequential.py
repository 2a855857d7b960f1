"""Confidence sequences: coverage over time by simulation, wealth by loops, the published formula."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt
from typing import Any

import numpy as np
import pytest

from icrl.envs import Episodes, Public
from icrl.experiments.sequential import confidence_sequence


def paid(rewards: Any) -> Episodes:
    """One pull per episode, with these rewards."""
    rewards = np.asarray(rewards, dtype=np.float64)[:, None]
    return Episodes(
        task="by hand",
        agent="by hand",
        seed=0,
        public=Public("bandit", 2, 1, "bernoulli"),
        episode=np.arange(len(rewards)),
        arms=np.zeros(rewards.shape, np.int64),
        rewards=rewards,
        gap=1 - rewards,
        lengths=np.ones(len(rewards), np.int64),
    )


def reward(runs: Episodes) -> Any:
    return runs.rewards[:, 0]


def sequence(ours: Any, theirs: Any, **options: Any) -> Any:
    return confidence_sequence(paid(ours), paid(theirs), reward, **options)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), None], ids=["betting", "asymptotic"])
def test_the_truth_is_inside_at_all_times(bounds: Any) -> None:
    rng, n, missed, naive, last = np.random.default_rng(0), 250, 0, 0, []
    for _ in range(300):
        ours, theirs = (rng.random(n) < 0.6), (rng.random(n) < 0.4)
        found = sequence(ours, theirs, bounds=bounds, level=0.9)
        missed += bool(((found.low > 0.2) | (found.high < 0.2)).any())
        spread = np.array([(ours[:i].astype(float) - theirs[:i]).std() / sqrt(i) for i in (30, 60, 120, 250)])
        naive += bool((abs(found.mean[[29, 59, 119, 249]] - 0.2) > 1.645 * spread).any())
        last.append(found.high[-1] - found.low[-1])
    assert missed <= 46  # at most 30, + 3 sd
    assert naive > 60  # four looks at intervals of 90% for a fixed number of episodes
    assert 0.15 < np.mean(last) < 0.4  # of a range of 2: no empty promise


def test_betting_is_the_hedged_capital() -> None:
    """Wealth by loops, as in the paper; the bounds are the outermost means of a grid that are still refuted."""
    rng, alpha = np.random.default_rng(0), 0.1
    ours, theirs = rng.random(60) ** 2, rng.random(60) / 2
    found = sequence(ours, theirs, bounds=(0, 1), level=1 - alpha)
    x = (ours - theirs + 1) / 2

    def wealth(m: float) -> Any:
        up, down, after, total, squares = 1.0, 1.0, [], 0.5, 0.25
        for t, value in enumerate(x, 1):
            bet = sqrt(2 * log(2 / alpha) / (squares * log(t + 1)))  # squares are t times the variance before t
            up *= 1 + min(bet, 0.5 / m) * (value - m)
            down *= 1 - min(bet, 0.5 / (1 - m)) * (value - m)
            after.append((up, down))
            total += value
            squares += (value - total / (t + 1)) ** 2
        return after

    grid = np.arange(1, 1000) / 1000
    up, down = np.moveaxis([wealth(m) for m in grid], 2, 0) >= 2 / alpha
    for n in range(5, 60):
        low = grid[up[:, n]].max(initial=0.0)
        high = grid[down[:, n]].min(initial=1.0)
        assert (found.low[n], found.high[n]) == pytest.approx((2 * low - 1, 2 * high - 1), abs=1e-9)
    assert found.low[59] > -0.5 and found.high[59] < 0.9 and found.method == "betting"


def test_asymptotic_is_the_published_formula() -> None:
    ours, theirs = np.random.default_rng(0).normal(size=(2, 200))
    found = sequence(ours, theirs)
    diff, alpha = (ours - theirs)[:120], 0.05
    rho2 = (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / 200
    width = diff.std() * sqrt(2 * (120 * rho2 + 1) / (120**2 * rho2) * log(sqrt(120 * rho2 + 1) / alpha))
    assert found.mean[119] == pytest.approx(diff.mean())
    assert (found.low[119], found.high[119]) == pytest.approx((diff.mean() - width, diff.mean() + width))
    assert np.isnan(found.low[:29]).all() and np.isfinite(found.low[29:]).all() and found.method == "asymptotic"


@pytest.mark.parametrize("bounds", [(0.0, 1.0), None], ids=["betting", "asymptotic"])
def test_the_decision_is_the_first_exclusion_of_zero(bounds: Any) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = (rng.random(400) < 0.7), (rng.random(400) < 0.3)
    for a, b in ((ours, theirs), (theirs, ours)):
        found = sequence(a, b, bounds=bounds)
        first = next(n for n in range(1, 401) if found.low[n - 1] >= 0 or found.high[n - 1] <= 0)
        assert found.decided == first and 10 < first < 150
        shorter = sequence(a[: first - 1], b[: first - 1], bounds=bounds)
        assert shorter.decided is None  # a look does not change what came before


def test_equal_agents_are_never_told_apart() -> None:
    rewards = np.random.default_rng(0).random(300)
    assert sequence(rewards, rewards).decided is None
    assert sequence(rewards, rewards, bounds=(0, 1)).decided is None


def test_units_of_the_measure() -> None:
    ours, theirs = np.random.default_rng(0).random((2, 100))
    one, ten = sequence(ours, theirs, bounds=(0, 1)), sequence(10 * ours - 5, 10 * theirs - 5, bounds=(-5, 5))
    assert np.allclose(10 * one.low, ten.low, atol=0.02) and np.allclose(10 * one.mean, ten.mean)


def test_default_measure_is_the_final_regret() -> None:
    found = confidence_sequence(paid([0.0] * 40), paid([1.0] * 40), bounds=(0, 1))
    assert found.mean.tolist() == [1] * 40 and found.low[-1] > 0 and found.decided is not None


def test_unknown_values_decide_nothing() -> None:
    for bounds in ((0, 1), None):
        found = sequence([1.0, np.nan, 1.0], [0.0, 0.0, 0.0], bounds=bounds)
        assert np.isnan([found.mean, found.low, found.high]).all() and found.decided is None


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"bounds: the measure must lie within \(0, 1\), got 1.5"):
        sequence([0.0, 1.5], [0.0, 0.0], bounds=(0, 1))
    with pytest.raises(ValueError, match=r"bounds: must be two finite numbers, the lower first, got \(1, 0\)"):
        sequence([0.0], [0.0], bounds=(1, 0))
    with pytest.raises(ValueError, match=r"level: .* got 95"):
        sequence([0.0], [0.0], level=95)
    with pytest.raises(ValueError, match="differ in task"):
        confidence_sequence(paid([0.0]), replace(paid([0.0]), task="other"))


def test_a_large_mean_does_not_hide_the_spread() -> None:
    luck = np.random.default_rng(0).normal(0, 1, 100)
    near, far = (confidence_sequence(paid(x + luck), paid(np.zeros(100)), lambda r: r.rewards[:, 0]) for x in (0, 1e9))
    known = ~np.isnan(near.low)
    assert (far.high - far.low)[known] == pytest.approx((near.high - near.low)[known], rel=1e-5)
