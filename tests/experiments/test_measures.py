"""Measures: cases worked out by hand, properties, and the published numbers of the classical agents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import icrl.envs
from icrl import metrics
from icrl.agents import UCB, Greedy, ThompsonSampling, Uniform, rollout
from icrl.envs import ActionSets, Bandit, Episodes, Public, UniformMeans, make


def episodes(arms: Any, means: Any, rewards: Any = 0.0, **columns: Any) -> Episodes:
    """A run with these arms [B, T] and means [B, K]; gaps and best arms follow."""
    arms, means = np.array(arms), np.array(means, dtype=float)
    rewards = np.where(arms < 0, np.nan, np.broadcast_to(np.array(rewards, dtype=float), arms.shape))
    gap = np.where(arms < 0, np.nan, np.take_along_axis(means.max(axis=1, keepdims=True) - means, arms.clip(0), 1))
    b, t = arms.shape
    public = Public("bandit", means.shape[1], t, "bernoulli")
    found = {"episode": np.arange(b), "lengths": np.full(b, t), "means": means, "best_arm": means.argmax(axis=1)}
    shared = {"task": "by hand", "agent": "by hand", "seed": 0, "public": public}
    return Episodes(**shared, **{**found, "arms": arms, "rewards": rewards, "gap": gap} | columns)


MEANS = [[0.25, 0.75, 0.5]]
RUN = episodes([[0, 1, 2, 1]], MEANS, [[1, 1, 0, 0]])


def close(value: Any, expected: Any) -> bool:
    return np.allclose(value, expected, equal_nan=True)


def test_regret_by_hand() -> None:
    assert close(metrics.pseudo_regret(RUN), [[0.5, 0.5, 0.75, 0.75]])
    assert close(metrics.realised_regret(RUN), [[-0.25, -0.5, 0.25, 1.0]])
    assert close(metrics.average_reward(RUN), [0.5])
    assert metrics.median_reward(RUN) == 0.5  # of [0.25, 0.75]


def test_a_forfeited_step_costs_the_largest_gap() -> None:
    run = episodes([[1, -1, 1]], MEANS, 0.75)
    assert close(metrics.pseudo_regret(run), [[0, 0.5, 0.5]])
    assert close(metrics.realised_regret(run), [[0, 0.5, 0.5]])
    assert close(metrics.average_reward(run), [(0.75 + 0.25 + 0.75) / 3])
    assert close(metrics.pseudo_regret(replace(run, means=None)), [[0, np.nan, np.nan]])
    assert close(metrics.average_reward(replace(run, means=None)), [0.5])
    assert close(metrics.optimal_fraction(run), [[1, 1 / 2, 2 / 3]])
    assert close(metrics.greedy_frac(run), [2 / 3])


def test_cells_past_the_end_repeat_the_last_step() -> None:
    run = episodes([[1, 0, -1, -1]], MEANS, 1.0, lengths=np.array([2]))
    assert close(metrics.pseudo_regret(run), [[0, 0.5, 0.5, 0.5]])
    assert close(metrics.realised_regret(run), [[-0.25, -0.5, -0.5, -0.5]])
    assert close(metrics.average_reward(run), [1.0])
    assert metrics.suffix_failure_curve(run).tolist() == [[False, True, True, True]]
    assert close(metrics.optimal_fraction(run), [[1, 0.5, 0.5, 0.5]])
    assert metrics.best_at_end(run).tolist() == [False]
    assert close(metrics.min_frac(episodes([[0, 1, 2, -1]], MEANS, lengths=np.array([3]))), [1.0])


def test_suffix_failure_counts_both_ends() -> None:
    run = episodes([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], MEANS * 3)
    curve = [[False, False, True, True], [False, False, False, True], [True] * 4]
    assert metrics.suffix_failure_curve(run).tolist() == curve
    assert metrics.suffix_failure(run).tolist() == [False, False, True]  # steps 2, 3, 4
    assert metrics.suffix_failure(run, t=3).tolist() == [True, False, True]
    assert metrics.suffix_failure(episodes([[1]], MEANS)).tolist() == [False]


def test_any_of_several_best_arms_will_do() -> None:
    run = episodes([[1, 1], [0, 0]], [[0.5, 0.5], [0.5, 0.5]])
    assert not metrics.suffix_failure(run).any() and metrics.best_at_end(run).all()
    assert np.isnan(metrics.median_reward(run))


def test_shares_by_hand() -> None:
    assert close(metrics.min_frac(RUN), [3 * 1 / 4])
    assert close(metrics.min_frac(RUN, t=2), [0])
    assert close(metrics.coverage(RUN), [[1 / 3, 2 / 3, 1, 1]])
    assert close(metrics.switch_rate(RUN), [1.0])
    assert close(metrics.switch_rate(episodes([[0, 0, -1, 1, 2]], MEANS, 0.5)), [1 / 4])
    assert close(metrics.optimal_fraction(RUN), [[0, 1 / 2, 1 / 3, 1 / 2]])
    assert metrics.best_at_end(RUN).tolist() == [True]


def test_greedy_frac_counts_ties_and_untried_arms() -> None:
    run = episodes([[0, 1, 1, 0, 1, 0]], [[0.5, 0.4]], [[1, 1, 0, 0, 1, 1]])
    assert close(metrics.greedy_frac(run), [5 / 6])  # empirical means at the end: 1/2 and 2/3, arm 0 is not greedy


def test_answers_and_policy_by_hand() -> None:
    probs = np.array([[[0.5, 0.5, 0], [1, 0, 0]]])
    run = episodes([[1, 0]], MEANS, probs=probs, failed=np.array([[3, 0]]), mass=np.array([[0.5, 0.75]]))
    assert close(metrics.action_entropy(run), [[np.log(2), 0]])
    assert close(metrics.invalid_rate(run), [0.5])
    assert close(metrics.label_mass(run), [[0.5, 0.75]])


def test_first_pull_bias_by_hand() -> None:
    run = episodes([[0, 1], [0, 1], [-1, 1], [2, 0]], MEANS * 4)
    assert metrics.first_pull_bias(run) == pytest.approx((1 / 6 + 1 / 12 + 1 / 12) / 2)
    assert metrics.first_pull_bias(episodes([[2, 2]], MEANS)) == pytest.approx(2 / 3)
    assert np.isnan(metrics.first_pull_bias(episodes([[-1]], MEANS)))


@pytest.mark.parametrize(
    "measure, column",
    [
        (metrics.realised_regret, "means"),
        (metrics.median_reward, "means"),
        (metrics.model_calls, "usage"),
        (metrics.invalid_rate, "failed"),
        (metrics.label_mass, "mass"),
        (metrics.action_entropy, "probs"),
    ],
)
def test_a_missing_column_is_named(measure: Any, column: str) -> None:
    with pytest.raises(ValueError, match=rf"^{column}: .*needs the column"):
        measure(replace(RUN, means=None, best_arm=None))


@pytest.mark.parametrize("measure", [metrics.suffix_failure, metrics.optimal_fraction, metrics.best_at_end])
def test_best_arms_must_be_known(measure: Any) -> None:
    with pytest.raises(ValueError, match="gap: .*the best arm"):
        measure(replace(RUN, gap=np.full_like(RUN.gap, np.nan)))
    assert close(measure(replace(RUN, means=None, best_arm=None)), measure(RUN)), "gaps tell"


def test_the_last_choice_by_hand() -> None:
    run = episodes([[1, 0], [0, 1], [1, -1], [2, 2]], MEANS * 4)
    assert close(metrics.simple_regret(run), [0.5, 0, 0.5, 0.25]) and close(metrics.error(run), [1, 0, 1, 1])
    last = replace(run, public=replace(run.public, kind="best-arm"))
    assert close(metrics.final_regret(last), metrics.simple_regret(run))
    assert close(metrics.final_regret(run), [0.5, 0.5, 0.5, 0.5])
    unknown = replace(run, gap=np.full_like(run.gap, np.nan), means=None)
    assert np.isnan(metrics.error(unknown)).all()


def test_weak_regret_by_hand() -> None:
    duels = np.array([[[0, 1], [2, 2], [0, 2], [-1, 1]]])
    run = replace(RUN, arms=duels, means=np.array([[0.2, 0.5, 0.4]]))
    assert close(metrics.weak_regret(run), [[0, 0.1, 0.2, 0.5]])
    with pytest.raises(ValueError, match="duels"):
        metrics.weak_regret(RUN)


def test_calls_of_a_model_are_counted() -> None:
    usage = np.array([[[5, 0, 0], [-1, -1, -1], [3, 2, 0], [-1, -1, -1]]])
    assert metrics.model_calls(replace(RUN, usage=usage)).tolist() == [2]


def test_arms_that_are_not_there_are_not_counted() -> None:
    """Episode 0 has two arms only."""
    run = replace(episodes([[0, 1], [2, 1]], MEANS * 2), means=np.array([[0.25, 0.75, np.nan], [0.25, 0.75, 0.5]]))
    assert close(metrics.pseudo_regret(run), [[0.5, 0.5], [0.25, 0.25]])
    assert close(metrics.realised_regret(run), [[0.75, 1.5], [0.75, 1.5]])
    legal = np.array([[[True, True, False], [True, False, True]]])
    seen = replace(episodes([[1, 0]], MEANS, [[1, 0]]), legal=legal)
    assert close(metrics.greedy_frac(seen), [1.0]), "arm 1 has the best mean, but it is not there"


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1, \.\.\., T = 4, got 5"):
        metrics.suffix_failure(RUN, t=5)
    with pytest.raises(ValueError, match="got 0"):
        metrics.min_frac(RUN, t=0)
    with pytest.raises(ValueError, match="one arm per step"):
        metrics.coverage(replace(RUN, arms=RUN.arms[:, :, None]))


@st.composite
def any_run(draw: st.DrawFn) -> Episodes:
    """Random play, with forfeited steps, ties and episodes of different lengths."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    b, t, k = (draw(st.integers(1, high)) for high in (6, 9, 4))
    lengths = rng.integers(1, t + 1, b)
    arms = np.where(np.arange(t) < lengths[:, None], rng.integers(-1, k, (b, t)), -1)
    means, rewards = rng.integers(0, 3, (b, k)) / 4, rng.integers(0, 2, (b, t))
    return episodes(arms, means, rewards, lengths=lengths, probs=rng.dirichlet(np.ones(k), (b, t)))


@given(any_run(), st.randoms(use_true_random=False))
def test_permuting_the_arms_changes_nothing(run: Episodes, random: Any) -> None:
    k = run.public.n_arms
    order = np.array(random.sample(range(k), k))  # the new arm i is the old arm order[i]
    arms = np.where(run.arms < 0, -1, np.argsort(order)[run.arms])
    means = run.means[:, order]
    moved = replace(run, arms=arms, means=means, best_arm=means.argmax(axis=1), probs=run.probs[:, :, order])
    for name in set(metrics.__all__) - {"invalid_rate", "label_mass", "model_calls", "weak_regret"}:
        measure = getattr(metrics, name)
        assert close(measure(run), measure(moved)), name


@given(any_run())
def test_curves_only_grow(run: Episodes) -> None:
    for measure in (metrics.pseudo_regret, metrics.suffix_failure_curve, metrics.coverage):
        assert (np.diff(measure(run).astype(float), axis=1) >= 0).all(), measure


@given(any_run())
def test_measures_agree_with_each_other(run: Episodes) -> None:
    last = np.arange(len(run)), run.lengths - 1
    best = run.means.max(axis=1)
    assert close(metrics.realised_regret(run)[:, -1], run.lengths * (best - metrics.average_reward(run)))
    assert (metrics.suffix_failure_curve(run)[last] == ~metrics.best_at_end(run)).all()
    assert (metrics.suffix_failure_curve(run)[:, 0] == (metrics.optimal_fraction(run)[:, -1] == 0)).all()
    assert ((metrics.coverage(run)[:, -1] == 1) == (metrics.min_frac(run) > 0)).all()


REFERENCES = {  # suffix failure, K * MinFrac, GreedyFrac, regret; over how many episodes, and rounded to what
    ThompsonSampling(): ((0.0056, 0.285, 0.617, 11.2), 20_000, (5e-5, 5e-4, 5e-4, 0.05)),
    UCB(c=1): ((0.0242, 0.181, 0.761, 9.5), 20_000, (5e-5, 5e-4, 5e-4, 0.05)),
    UCB(alpha=0.5): ((0.0007, 0.322, 0.63, 11.2), 10_000, (5e-5, 5e-4, 5e-3, 0.05)),
    Greedy(): ((0.465, 0.051, 1.0, 10.9), 20_000, (5e-4, 5e-4, 5e-4, 0.05)),
    Uniform(): ((0.0, 0.748, 0.27, 16.0), 10_000, (5e-5, 5e-4, 5e-3, 0.05)),
}


@pytest.mark.parametrize("agent", REFERENCES, ids=repr)
def test_reference_numbers_of_the_hard_bandit(agent: Any) -> None:
    """Both sides are samples: within three standard errors of their difference, plus the rounding."""
    expected, size, rounding = REFERENCES[agent]
    run = rollout(agent, icrl.envs.make("bernoulli-hard"), episodes=20_000, seed=0)
    failed, fraction, greedy = metrics.suffix_failure(run), metrics.min_frac(run), metrics.greedy_frac(run)
    found = np.stack([failed, fraction, greedy, metrics.pseudo_regret(run)[:, -1]])
    band = 3 * found.std(axis=1) * np.sqrt(1 / len(run) + 1 / size) + rounding
    assert (np.abs(found.mean(axis=1) - expected) <= band).all(), found.mean(axis=1)


def test_arms_that_an_episode_lacks_are_not_counted() -> None:
    runs = rollout(Uniform(), make("headless"), episodes=256)
    assert len(set(np.isfinite(runs.means).sum(axis=1).tolist())) > 5
    fair = rollout(Uniform(), Bandit(n_arms=4, horizon=100, means=UniformMeans()), episodes=256)
    fewer = rollout(Uniform(), ActionSets(n_arms=8, fewest=2, horizon=100, means=UniformMeans()), episodes=1024)
    four = np.isfinite(fewer.means).sum(axis=1) == 4
    assert metrics.min_frac(fewer)[four].mean() == pytest.approx(metrics.min_frac(fair).mean(), abs=0.03)
    assert metrics.coverage(fewer)[four, -1].min() == 1
    assert metrics.first_pull_bias(fewer) < 0.06
