"""Bandits whose means change, and bandits whose arms come and go."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from icrl.agents import Uniform, rollout
from icrl.envs import ActionSets, Drifting, Fixed, Gap, Gaussian, NormalMeans, Switching, UniformMeans
from icrl.envs.moving import reflected

MEANS = {"n_arms": 4, "horizon": 60, "means": UniformMeans()}


def course(world, rows=64):
    """[B, T, K] the means at each step."""
    state, found = world.start(np.arange(rows), 0), []
    for _ in range(world.horizon):
        found.append(state.means)
        legal = (state.means > -np.inf).argmax(axis=1)
        state, _, _ = world.step(state, legal[:, None])
    return np.stack(found, axis=1)


class TestSwitching:
    def test_all_means_change_at_as_many_steps_as_declared(self):
        means = course(Switching(**MEANS, changes=3))
        moved = (means[:, 1:] != means[:, :-1]).all(axis=2)
        assert (moved.sum(axis=1) == 3).all()
        assert (means[:, 1:] != means[:, :-1]).any(axis=2).sum() == moved.sum(), "all of them or none"

    def test_changes_come_at_any_step_but_the_first(self):
        means = course(Switching(**MEANS, changes=3), rows=2000)
        at = np.nonzero((means[:, 1:] != means[:, :-1]).all(axis=2))[1] + 1
        assert at.min() == 1 and at.max() == 59
        assert stats.chisquare(np.bincount(at, minlength=60)[1:]).pvalue > 1e-3

    def test_segments_are_independent_draws(self):
        means = course(Switching(**MEANS, changes=1), rows=2000)
        first, last = means[:, 0].ravel(), means[:, -1].ravel()
        assert abs(np.corrcoef(first, last)[0, 1]) < 0.05
        assert stats.kstest(last, "uniform").pvalue > 1e-3

    def test_the_gap_follows_the_means_of_the_moment(self):
        world = Switching(**MEANS, changes=5)
        runs, means = rollout(Uniform(), world, episodes=64), course(world)
        mine = np.take_along_axis(means, runs.arms[:, :, None], axis=2)[:, :, 0]
        assert np.allclose(runs.gap, means.max(axis=2) - mine) and runs.means is None

    def test_changes_must_fit(self):
        with pytest.raises(ValueError, match="changes must be below the horizon, got 60 and 60"):
            Switching(**MEANS, changes=60)


class TestDrifting:
    def test_steps_have_the_declared_size(self):
        world = Drifting(
            n_arms=4, horizon=60, means=NormalMeans(), noise=Gaussian(), drift=0.1, within=(-np.inf, np.inf)
        )
        steps = np.diff(course(world, rows=500), axis=1)
        assert stats.kstest(steps.ravel()[::7], stats.norm(0, 0.1).cdf).pvalue > 1e-3
        flat = steps.reshape(500, -1)
        assert abs(np.corrcoef(flat[:, 0], flat[:, 4])[0, 1]) < 0.15

    def test_means_stay_within_their_bounds_and_go_everywhere(self):
        means = course(Drifting(**MEANS, drift=0.3), rows=200)
        assert means.min() >= 0 and means.max() <= 1
        assert stats.kstest(means[:, -1].ravel(), "uniform").pvalue > 1e-3

    @given(st.floats(-50, 50), st.floats(-3, 3), st.floats(0.1, 5))
    def test_reflection_walks_back_from_the_wall(self, x, low, span):
        high, y = low + span, x
        for _ in range(2000):
            y = 2 * low - y if y < low else 2 * high - y if y > high else y
        assert reflected(np.array([x]), low, high)[0] == pytest.approx(y, abs=1e-6)

    @pytest.mark.parametrize(
        ("x", "low", "high", "back"), [(-2, 0, np.inf, 2), (3, -np.inf, 1, -1), (9, -np.inf, np.inf, 9)]
    )
    def test_one_wall_or_none(self, x, low, high, back):
        assert reflected(np.array([float(x)]), low, high)[0] == back

    @pytest.mark.parametrize(
        ("within", "means", "says"),
        [
            ((0.2, 1.0), UniformMeans(), r"within must hold all means, got \(0.2, 1.0\)"),
            ((-1.0, 1.0), UniformMeans(), r"within must lie in \[0, 1\] for Bernoulli"),
        ],
    )
    def test_bounds_must_hold_the_means(self, within, means, says):
        with pytest.raises(ValueError, match=says):
            Drifting(n_arms=4, horizon=9, means=means, within=within)


class TestActionSets:
    def test_the_number_of_arms_is_uniform_on_its_range(self):
        world = ActionSets(n_arms=7, horizon=1, means=UniformMeans(), fewest=3)
        legal = world.view(world.start(np.arange(3000), 0)).legal
        counts = np.bincount(legal.sum(axis=1), minlength=8)
        assert counts[:3].sum() == 0 and stats.chisquare(counts[3:]).pvalue > 1e-3

    def test_arms_are_there_as_often_as_declared(self):
        world = ActionSets(n_arms=5, horizon=60, means=UniformMeans(), fewest=5, present=0.6)
        there = np.isfinite(course(world, rows=300))
        none = 0.4**5  # then all are there
        assert there.mean() == pytest.approx(0.6 + none, abs=0.01) and there.any(axis=2).all()
        assert abs(np.corrcoef(there[:, :, 0].ravel(), there[:, :, 1].ravel())[0, 1]) < 0.05

    def test_regret_is_to_the_best_arm_that_is_there(self):
        world = ActionSets(**MEANS, fewest=4, present=0.5)
        runs, means = rollout(Uniform(), world, episodes=64), course(world)
        mine = np.take_along_axis(runs.means[:, None], runs.arms[:, :, None], axis=2)[:, :, 0]
        best = np.where(runs.legal, runs.means[:, None], -np.inf).max(axis=2)
        assert np.allclose(runs.gap, best - mine) and (runs.legal == np.isfinite(means)).all()
        assert runs.best_arm is None, "which arm is best depends on who is there"

    def test_the_best_arm_is_always_among_the_few(self):
        world = ActionSets(n_arms=8, horizon=3, means=Gap(best=0.8, gap=0.3), fewest=2)
        truth = world.instances(np.arange(500), 0)
        assert np.allclose(np.nanmax(truth.means, axis=1), 0.8)
        assert (np.nanmax(truth.means, axis=1) == truth.means[np.arange(500), truth.best_arm]).all()

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"fewest": 9}, "fewest must be at most n_arms, got 9 and 4"),
            ({"fewest": 1}, "fewest"),
            ({"present": 0}, "present"),
            ({"present": 1.2}, "present"),
            ({"means": Fixed(values=(0.1, 0.2, 0.3, 0.4)), "fewest": 2}, "fewest must equal n_arms, 4"),
        ],
    )
    def test_impossible_ranges_are_refused(self, fields, says):
        with pytest.raises(ValueError, match=says):
            ActionSets(**(MEANS | fields))
