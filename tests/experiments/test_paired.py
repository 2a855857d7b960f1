"""Paired comparisons: permutations by enumeration, t-tests and binomials by hand, error rates by simulation."""

from __future__ import annotations

import itertools
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, norm, t

from icrl.envs import Episodes, Public
from icrl.experiments.measures import final_regret
from icrl.experiments.paired import equivalence, failure_test, holm, mean_test, paired_difference


def paid(rewards: Any) -> Episodes:
    """One pull per episode, with these rewards; the regret is 1 - reward."""
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


def test_difference_is_tested_by_all_sign_flips() -> None:
    ours, theirs = np.random.default_rng(1).normal([[0.6], [0]], 1, (2, 9))
    diff = ours - theirs
    flipped = [abs((np.array(signs) * diff).mean()) for signs in itertools.product([-1, 1], repeat=9)]
    found = paired_difference(paid(ours), paid(theirs), reward)
    assert found.p == pytest.approx(np.mean(np.array(flipped) >= abs(diff.mean()) - 1e-12))
    assert 0.005 < found.p < 0.9
    assert (found.n, found.ours, found.theirs) == (9, pytest.approx(ours.mean()), pytest.approx(theirs.mean()))
    assert found.diff == pytest.approx(diff.mean()) and found.low < found.diff < found.high


def test_default_measure_is_the_final_regret() -> None:
    found = paired_difference(paid([0.5] * 4), paid([0.25] * 4))
    assert (found.ours, found.theirs, found.diff, found.low, found.high) == (0.5, 0.75, -0.25, -0.25, -0.25)
    assert found.p == 2 * 0.5**4


def test_many_episodes_agree_with_the_normal_and_need_little_memory() -> None:
    ours, theirs = np.random.default_rng(0).normal(size=(2, 1500))
    diff = ours - theirs
    se = diff.std() / np.sqrt(1500)
    tracemalloc.start()
    found = paired_difference(paid(ours), paid(theirs), reward)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6  # all permutations at once take 1 GB
    assert (found.low, found.high) == pytest.approx((diff.mean() - 1.96 * se, diff.mean() + 1.96 * se), abs=0.15 * se)
    assert found.p == pytest.approx(2 * norm.sf(abs(diff.mean()) / se), abs=0.03)


def test_seeds_and_levels_matter() -> None:
    ours, theirs = np.random.default_rng(0).normal(size=(2, 30))
    first, again, other = (paired_difference(paid(ours), paid(theirs), reward, seed=s) for s in (0, 0, 1))
    assert first == again and first.low != other.low
    assert paired_difference(paid(ours), paid(theirs), reward, level=0.5).low > first.low


def test_unknown_values_are_not_averaged_over() -> None:
    ours, theirs = paid([1.0, np.nan, 0.5]), paid([0.0, 0.0, 0.0])
    found = paired_difference(ours, theirs, reward)
    assert np.isnan([found.ours, found.diff, found.low, found.high, found.p]).all() and found.theirs == 0
    same = equivalence(ours, theirs, 9.0, reward)
    assert np.isnan([same.diff, same.low, same.p]).all() and not same.equivalent
    assert np.isnan(paired_difference(paid([1.0]), paid([0.0])).p) and np.isnan(mean_test(np.array([1.0])))


@pytest.mark.parametrize("part, value", [("task", "other"), ("seed", 1), ("episode", np.arange(1, 5))])
def test_other_luck_is_refused(part: str, value: Any) -> None:
    runs = paid([0.0, 1.0, 1.0, 0.0])
    for compare in (paired_difference, failure_test):
        with pytest.raises(ValueError, match=f"'ours' and 'theirs' differ in {part}"):
            compare(replace(runs, **{part: value}), runs, reward)


def test_bad_arguments_are_refused() -> None:
    runs = paid([0.0, 1.0])
    with pytest.raises(ValueError, match=r"measure: must give \[B\] = \(2,\).*got \(2, 1\)"):
        paired_difference(runs, runs, lambda r: r.rewards)
    with pytest.raises(ValueError, match=r"level: .* got 1"):
        paired_difference(runs, runs, level=1)
    with pytest.raises(ValueError, match=r"margin: must be a positive number, got 0"):
        equivalence(runs, runs, 0)
    with pytest.raises(ValueError, match="failure: must give true or false"):
        failure_test(runs, runs, lambda r: r.rewards[:, 0] / 2)


def test_equivalence_is_two_t_tests() -> None:
    ours, theirs = np.random.default_rng(0).normal(size=(2, 40))
    diff = ours - theirs
    se = diff.std(ddof=1) / np.sqrt(40)
    for margin in (0.3, 0.6, 0.9):
        found = equivalence(paid(ours), paid(theirs), margin, reward)
        sides = t.sf((diff.mean() + margin) / se, 39), t.cdf((diff.mean() - margin) / se, 39)
        assert found.p == pytest.approx(max(sides))
        assert found.low == pytest.approx(diff.mean() - t.ppf(0.95, 39) * se)
        assert found.equivalent == (max(sides) < 0.05) == (-margin < found.low and found.high < margin)
    assert found.equivalent and found.margin == 0.9


def test_equivalence_is_wrong_as_rarely_as_it_says() -> None:
    diffs = np.random.default_rng(0).normal(1.0, 1.0, (1000, 20))  # at the margin: not equivalent
    zero = paid(np.zeros(20))
    wrong = sum(equivalence(paid(diff), zero, 1.0, reward).equivalent for diff in diffs)
    assert 30 <= wrong <= 72  # 50 +- 3.2 sd


def test_equal_differences_are_tested_by_their_signs() -> None:
    ours, theirs = paid([0.5] * 5), paid([0.25] * 5)
    found = equivalence(ours, theirs, 0.3, reward)
    assert found.p == 0.5**5 and found.equivalent and (found.low, found.high) == (0.25, 0.25)
    assert equivalence(ours, theirs, 0.2, reward).p == 1
    assert mean_test(np.full(5, 0.25)) == 0.5**4 and mean_test(np.zeros(5)) == 1


def test_failures_are_tested_by_the_binomial_of_the_discordant_pairs() -> None:
    ours = paid([1] * 9 + [0] * 2 + [1] * 4 + [0] * 5)  # 9 only ours, 2 only theirs, 4 both, 5 none
    theirs = paid([0] * 9 + [1] * 2 + [1] * 4 + [0] * 5)
    assert failure_test(ours, theirs, reward) == pytest.approx(2 * binom.cdf(2, 11, 0.5))


def test_holm_by_hand() -> None:
    assert holm(np.array([0.01, np.nan, 0.04, 0.03])) == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_final_regret_is_the_sum_of_gaps() -> None:
    assert final_regret(replace(paid([0.0]), gap=np.array([[0.5]]))).tolist() == [0.5]


def test_a_large_offset_is_no_constant() -> None:
    luck = np.random.default_rng(0).normal(0, 1, 100)
    small = equivalence(paid(luck), paid(np.zeros(100)), 0.5, reward)
    large = equivalence(paid(1e6 + luck), paid(np.zeros(100)), 1e6 + 0.5, reward)
    assert large.high - large.low == pytest.approx(small.high - small.low, rel=1e-6)
    assert mean_test(1e-13 * (luck + 3)) == pytest.approx(mean_test(luck + 3), rel=1e-6)


def test_p_values_lie_between_0_and_1() -> None:
    with pytest.raises(ValueError, match=r"p: must lie in \[0, 1\], got 1.5"):
        holm(np.array([0.1, 1.5]))
    assert holm([0.1, 0.2]).tolist() == [0.2, 0.2]  # type: ignore[arg-type]
