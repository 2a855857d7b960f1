"""Growth of regret: exact powers, curves made from the formula, coverage, and reasons for silence."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import curve_fit

from icrl.envs import Episodes, Public
from icrl.experiments.growth import growth_exponent
from icrl.experiments.regret_fit import regret_fit


def having(regret: Any, gap: float = 0.2) -> Episodes:
    """Episodes with these curves of cumulative pseudo-regret, [T] or [B, T]."""
    regret = np.atleast_2d(np.asarray(regret, dtype=np.float64))
    b, t = regret.shape
    return Episodes(
        task="by hand",
        agent="by hand",
        seed=0,
        public=Public("bandit", 2, t, "bernoulli"),
        episode=np.arange(b),
        arms=np.zeros((b, t), np.int64),
        rewards=np.zeros((b, t)),
        gap=np.diff(regret, axis=1, prepend=0),
        lengths=np.full(b, t),
        means=np.tile([0.5 - gap, 0.5], (b, 1)),
        best_arm=np.ones(b, np.int64),
    )


def formula(t: Any, scale: float, alpha: float, beta: float, c: float) -> Any:
    return scale * np.log(t) ** alpha / 0.2 + beta * t + c


STEPS = np.arange(1, 301)
TRUTH = {"lambda": 0.05, "alpha": 1.7, "beta": 0.02, "c": 0.3}

# -------------------------------------------------------------------------------------------------------- exponents


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
def test_powers_are_found(power: float) -> None:
    found = growth_exponent(having(np.tile(3 * STEPS**power, (4, 1))))
    assert (found.exponent, found.low, found.high) == pytest.approx((power, power, power))
    assert (found.start, found.stop, found.withheld) == (30, 300, None)


def test_the_range_is_what_is_fitted() -> None:
    bent = having(np.tile(np.where(STEPS <= 100, STEPS, 10 * STEPS**0.5), (2, 1)))
    assert growth_exponent(bent, start=5, stop=100).exponent == pytest.approx(1)
    assert growth_exponent(bent, start=100, stop=300).withheld is not None
    assert growth_exponent(bent, start=10, stop=300).exponent < 0.9


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng, steps, inside = np.random.default_rng(0), np.arange(1, 41), 0
    for seed in range(200):
        slow, fast = rng.exponential(size=(2, 40, 1))  # the mean is (t ** 0.5 + t) / 2 whatever is drawn
        found = growth_exponent(having((slow * steps**0.5 + fast * steps) / 2), level=0.9, seed=seed)
        truth = np.polyfit(np.log(steps[3:]), np.log((steps**0.5 + steps)[3:]), 1)[0]
        inside += found.low <= truth <= found.high
    assert 162 <= inside <= 192  # 180 -+ 4 sd: percentile intervals of 40 episodes are a little narrow


def test_one_episode_has_no_interval() -> None:
    found = growth_exponent(having(STEPS**0.5))
    assert found.exponent == pytest.approx(0.5) and np.isnan([found.low, found.high]).all()
    assert found.withheld == "one episode has no interval"
    table = regret_fit(having(formula(STEPS, *TRUTH.values())))
    assert table["estimate"].to_dict() == pytest.approx(TRUTH, rel=0.01) and table[["low", "high"]].isna().all(
        axis=None
    )


@pytest.mark.parametrize(
    "runs, options, reason",
    [
        (having(np.zeros((3, 100))), {}, "regret is 0 at"),
        (having([STEPS**0.5, np.full(300, np.nan)]), {}, "the regret of an episode is unknown"),
        (having(np.ones((3, 5))), {}, "steps 1 to 5 are too few"),
        (having(np.tile(STEPS, (3, 1))), {"start": 100}, "steps 100 to 300 are too few: .* factor of 4"),
        (
            replace(having(np.tile(STEPS, (2, 1))), lengths=np.array([300, 299])),
            {},
            "not every episode reaches step 300",
        ),
    ],
    ids=["zero", "unknown", "short", "narrow", "ended"],
)
def test_what_says_nothing_is_withheld(runs: Episodes, options: Any, reason: str) -> None:
    found = growth_exponent(runs, **options)
    assert np.isnan([found.exponent, found.low, found.high]).all()
    assert found.withheld is not None and re.match(reason, found.withheld)
    table = regret_fit(runs, **options)
    assert table[["estimate", "low", "high"]].isna().all(axis=None)
    assert table["withheld"].str.match(reason).all()


def test_regret_in_one_episode_only_is_withheld() -> None:
    found = growth_exponent(having([STEPS, 0 * STEPS, 0 * STEPS]))  # most resamples of three lack it now and then
    assert np.isnan(found.exponent) and found.withheld == "regret is 0 at step 30, in the mean or in a resample"


@pytest.mark.parametrize("start, stop", [(0, 9), (9, 8), (1, 301)])
def test_ranges_outside_are_refused(start: int, stop: int) -> None:
    for fit in (growth_exponent, regret_fit):
        with pytest.raises(ValueError, match=rf"1 <= start <= stop <= 300, got {start} to {stop}"):
            fit(having(STEPS), start=start, stop=stop)


# ------------------------------------------------------------------------------------------------------------- fit


def test_the_formula_is_found_again() -> None:
    noise = 1 + np.random.default_rng(0).uniform(-0.02, 0.02, (8, 1))
    table = regret_fit(having(noise / noise.mean() * formula(STEPS, *TRUTH.values())))
    assert list(table.index) == list(TRUTH) and list(table.columns) == ["estimate", "low", "high", "withheld"]
    assert table["estimate"].to_dict() == pytest.approx(TRUTH, rel=0.02)
    assert table["withheld"].isna().all()
    assert (table["low"] <= table["estimate"]).all() and (table["estimate"] <= table["high"]).all()
    assert table.loc["beta", "low"] < TRUTH["beta"] < table.loc["beta", "high"]


def test_the_gap_scales_lambda_only() -> None:
    curve = np.tile(formula(STEPS, *TRUTH.values()), (2, 1))
    wide = regret_fit(having(curve, gap=0.4))["estimate"]
    assert wide["lambda"] == pytest.approx(2 * TRUTH["lambda"], rel=0.02)
    assert wide["beta"] == pytest.approx(TRUTH["beta"], rel=0.02)


def test_no_worse_than_a_search_from_the_truth() -> None:
    rng = np.random.default_rng(1)
    curve = formula(STEPS, *TRUTH.values()) + np.cumsum(rng.normal(0, 0.05, 300))
    ours = regret_fit(having(np.tile(curve, (2, 1))))["estimate"]
    at = np.unique(np.linspace(1, 300, 100).round())
    bounds = ([0, 0, 0, -np.inf], [np.inf, 5, np.inf, np.inf])
    theirs, _ = curve_fit(formula, at, curve[at.astype(int) - 1], p0=list(TRUTH.values()), bounds=bounds)
    errors = [((formula(at, *values) - curve[at.astype(int) - 1]) ** 2).sum() for values in (ours, theirs)]
    assert errors[0] <= errors[1] * 1.001


def test_bounds_hold() -> None:
    flattening = regret_fit(having(np.tile(np.minimum(STEPS, 100.0), (2, 1))))["estimate"]
    assert flattening["beta"] == 0 and flattening["lambda"] > 0


def test_linear_regret_has_no_logarithm() -> None:
    gaps = 0.2 * (np.random.default_rng(0).random((40, 300)) < 0.5)  # a uniform agent
    table = regret_fit(having(np.cumsum(gaps, axis=1)))
    beta = table.loc["beta"]
    assert beta["low"] <= 0.1 <= beta["high"] and beta["low"] > 0.07 and beta["withheld"] is None
    assert table.loc[["lambda", "alpha", "c"], ["estimate", "low", "high"]].isna().all(axis=None)
    assert table.loc["alpha", "withheld"] == "the interval of alpha covers all that is allowed"
    assert (table.loc[["lambda", "c"], "withheld"] == "alpha may be 0, where lambda and c cancel").all()


def test_exactly_linear_regret_has_lambda_zero() -> None:
    table = regret_fit(having(np.tile(np.arange(0, 300.0), (2, 1))))
    assert table["estimate"].to_dict() == pytest.approx({"lambda": 0, "alpha": np.nan, "beta": 1, "c": -1}, nan_ok=True)
    assert table.loc["alpha", "withheld"].startswith("lambda is 0")


def test_tasks_without_means_or_gaps() -> None:
    with pytest.raises(ValueError, match="means: the fit needs the column 'means'"):
        regret_fit(replace(having(STEPS), means=None))
    flat = replace(having([STEPS, STEPS]), means=np.full((2, 2), 0.5))
    assert (regret_fit(flat)["withheld"] == "an episode has no gap").all()
