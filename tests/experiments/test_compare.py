"""Comparisons: exact values, the tests against scipy, the bootstrap against what it promises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

import icrl.envs
from icrl.agents import UCB, Greedy, Uniform, rollout
from icrl.envs import Episodes, Public
from icrl.experiments.compare import bands, compare


def constant(arm: int, b: int = 6) -> Episodes:
    """Pulls one of two arms all the time; arm 1 is the best, by 0.5."""
    arms = np.full((b, 4), arm)
    return Episodes(
        task="by hand",
        agent="by hand",
        seed=0,
        public=Public("bandit", 2, 4, "bernoulli"),
        episode=np.arange(b),
        arms=arms,
        rewards=np.full((b, 4), 0.25 + 0.5 * arm),
        gap=np.where(arms == 1, 0.0, 0.5),
        lengths=np.full(b, 4),
        means=np.tile([0.25, 0.75], (b, 1)),
        best_arm=np.ones(b, np.int64),
    )


@pytest.fixture(scope="module")
def runs() -> dict[str, Episodes]:
    task = icrl.envs.make("bernoulli-hard", horizon=30)
    return {n: rollout(a, task, episodes=200) for n, a in {"ucb": UCB(c=1), "greedy": Greedy(), "u": Uniform()}.items()}


def test_constant_agents_by_hand() -> None:
    table = compare({"worst": constant(0), "best": constant(1)})
    assert list(table.index) == ["worst", "best"] and table.index.name == "agent"
    worst, best = table.loc["worst"], table.loc["best"]
    assert worst[["regret", "regret_low", "regret_high"]].tolist() == [2, 2, 2]
    assert worst[["suffix_failure", "min_frac", "greedy_frac", "best_fraction"]].tolist() == [1, 0, 1, 0]
    assert best[["best_at_end", "median_reward", "coverage"]].tolist() == [1, 1, 0.5]
    assert best[["diff", "diff_low", "diff_high"]].tolist() == [-2, -2, -2]
    assert best[["p", "p_suffix"]].tolist() == [2 * 0.5**6] * 2  # six pairs, all one way
    assert worst[["diff", "p", "p_suffix"]].isna().all()


def test_p_values_are_holm_adjusted_over_the_rows() -> None:
    table = compare({"worst": constant(0), "best": constant(1), "again": constant(1), "same": constant(0)})
    assert table["p_suffix"].tolist()[1:] == pytest.approx([3 * 2 * 0.5**6, 3 * 2 * 0.5**6, 1.0])
    assert table["p"].tolist()[1:] == table["p_suffix"].tolist()[1:]


def test_difference_and_p_are_of_the_paired_regrets(runs: dict[str, Episodes]) -> None:
    table = compare({"ucb": runs["ucb"], "greedy": runs["greedy"]}, baseline="greedy")
    ours, base = (np.nansum(runs[name].gap, axis=1) for name in ("ucb", "greedy"))
    row = table.loc["ucb"]
    assert row["diff"] == pytest.approx((ours - base).mean())
    assert row["p"] == pytest.approx(ttest_rel(ours, base).pvalue)
    assert row["diff_low"] < row["diff"] < row["diff_high"]
    assert np.isnan(table.loc["greedy", "diff"])


def test_equal_seeds_give_equal_tables(runs: dict[str, Episodes]) -> None:
    pd.testing.assert_frame_equal(compare(runs, seed=3), compare(runs, seed=3))
    assert compare(runs, seed=3).loc["u", "regret_low"] != compare(runs, seed=4).loc["u", "regret_low"]


def test_a_higher_level_is_wider(runs: dict[str, Episodes]) -> None:
    narrow, wide = (compare(runs, level=level) for level in (0.5, 0.99))
    assert (wide["regret_low"] < narrow["regret_low"]).all() and (wide["regret_high"] > narrow["regret_high"]).all()


def test_what_a_run_lacks_is_nan(runs: dict[str, Episodes]) -> None:
    bare = {n: replace(r, means=None, best_arm=None, gap=np.full_like(r.gap, np.nan)) for n, r in runs.items()}
    table = compare(bare)
    known = table.columns[table.notna().any()]
    assert list(known) == ["min_frac", "greedy_frac", "coverage"]
    mass = np.full(bare["u"].arms.shape, np.nan)
    mass[:, 0] = 0.5
    assert compare({"u": replace(bare["u"], mass=mass)}).loc["u", "mass"] == 0.5


def test_one_episode_has_no_interval() -> None:
    table = compare({"worst": constant(0, b=1), "best": constant(1, b=1)})
    assert table.loc["best", ["regret", "diff", "p_suffix"]].tolist() == [0, -2, 1]
    assert table.loc["best", ["regret_low", "diff_high", "p"]].isna().all()


@pytest.mark.parametrize("part, value", [("task", "other"), ("seed", 1), ("episode", np.arange(1, 7))])
def test_other_luck_is_refused(part: str, value: Any) -> None:
    other = replace(constant(1), **{part: value})
    with pytest.raises(ValueError, match=f"'b' and 'a' differ in {part}"):
        compare({"a": constant(0), "b": other})


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one agent"):
        compare({})
    with pytest.raises(ValueError, match="must be one of 'a', got 'b'"):
        compare({"a": constant(0)}, baseline="b")
    with pytest.raises(ValueError, match=r"level: .* got 95"):
        compare({"a": constant(0)}, level=95)


@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 99))
def test_bands_hold_the_mean(b: int, t: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(b, t))
    mean, low, high = bands(values, seed=seed)
    assert np.allclose(mean, values.mean(axis=0))
    assert (low <= mean).all() and (mean <= high).all()
    assert (low >= values.min(axis=0)).all() and (high <= values.max(axis=0)).all()


def test_bands_of_many_episodes_are_normal() -> None:
    values = np.random.default_rng(0).normal(size=(20_000, 2))
    _, low, high = bands(values)
    assert np.allclose((high - low) / 2, 1.96 / np.sqrt(20_000), rtol=0.1)


def test_bands_cover_the_truth_as_often_as_they_say() -> None:
    values = np.random.default_rng(0).exponential(size=(50, 1000))  # 1000 experiments of 50 episodes
    _, low, high = bands(values)
    assert 0.91 <= ((low <= 1) & (high >= 1)).mean() <= 0.96  # skewed data: a little under 0.95


def test_bands_leave_out_nan() -> None:
    values = np.array([[1.0, np.nan, 0.0], [3.0, np.nan, np.nan], [5.0, np.nan, 0.0]])
    mean, low, high = bands(values)
    assert np.array_equal(mean, [3, np.nan, 0], equal_nan=True)
    assert np.isnan([low[1], high[1]]).all() and low[0] < 3 < high[0]


def test_bands_take_truth_values() -> None:
    assert bands(np.array([[True], [False]]))[0].tolist() == [0.5]
