"""Directions from plays that the tests wrote down: what EAST's formula says, and what it must not see."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icrl.agents import (
    Pairs,
    Plays,
    cosine,
    east,
    in_context,
    matched,
    mean_difference,
    principal,
    random_like,
    rescaled,
    shuffled,
    time_direction,
    without,
)
from icrl.models.steering import Origin, SteeringVector

RUNS, LAYERS, WIDTH = 7, 3, 6


def plays(seed=0, lengths=(5, 9, 4, 12, 1, 8, 6), entropy=None):
    """Ragged runs of noise."""
    rng = np.random.default_rng(seed)
    run = np.repeat(np.arange(len(lengths)), lengths)
    t = np.concatenate([np.arange(n) for n in lengths])
    states = rng.normal(size=(len(run), LAYERS, WIDTH)).astype(np.float32)
    return Plays(states, rng.uniform(0, 1.6, len(run)) if entropy is None else entropy(run, t), run, t, Origin())


def by_hand(found, layer):
    """Equation 1 of the paper, run by run."""
    total, weight = np.zeros(WIDTH), 0.0
    for run in set(found.run.tolist()):
        rows = found.run == run
        z, h = found.states[rows, layer].astype(np.float64), found.entropy[rows]
        total += (h[:, None] * (z - z.mean(axis=0))).sum(axis=0)
        weight += h.sum()
    return total / weight


class TestEast:
    @given(seed=st.integers(0, 1000))
    def test_it_is_the_paper_s_equation(self, seed):
        found = plays(seed)
        for layer, vector in enumerate(east(found)):
            assert vector.layers == (layer,)
            assert np.allclose(vector.directions[0], by_hand(found, layer), atol=1e-6)

    def test_it_is_the_covariance_within_runs_by_the_mean_entropy(self):
        found = plays()
        covariance = np.zeros(WIDTH)
        for run in range(RUNS):
            rows = found.run == run
            h = found.entropy[rows]
            covariance += (h - h.mean()) @ found.states[rows, 1].astype(np.float64)
        assert np.allclose(east(found)[1].directions[0], covariance / found.entropy.sum(), atol=1e-6)

    def test_entropies_that_do_not_vary_are_refused(self):
        with pytest.raises(ValueError, match="does not vary"):
            east(plays(entropy=lambda run, t: np.full(len(run), 0.7)))
        with pytest.raises(ValueError, match="does not vary"):  # between runs only
            east(plays(entropy=lambda run, t: 0.1 + run / 10))
        with pytest.raises(ValueError, match="no entropy at any prompt"):
            east(plays(entropy=lambda run, t: np.zeros(len(run))))

    def test_a_run_of_constant_entropy_only_shortens_it(self):
        found = plays()
        flat = Plays(found.states, np.where(found.run == 3, 0.5, found.entropy), found.run, found.t, Origin())
        left = found.run != 3
        rest = Plays(found.states[left], found.entropy[left], found.run[left], found.t[left], Origin())
        for a, b in zip(east(flat), east(rest), strict=True):
            assert cosine(a, b) == pytest.approx(1, abs=1e-6)
            assert a.norm / b.norm == pytest.approx(rest.entropy.sum() / flat.entropy.sum(), rel=1e-5)

    def test_it_finds_what_the_entropy_reads(self):
        """Isotropic states whose entropy is one of their coordinates."""
        rng = np.random.default_rng(5)
        states = rng.normal(size=(3000, 1, 16)).astype(np.float32)
        w = rng.normal(size=16)
        run, t = np.repeat(np.arange(60), 50), np.tile(np.arange(50), 60)
        (vector,) = east(Plays(states, 5 + states[:, 0] @ w / np.linalg.norm(w), run, t, Origin()))
        assert vector.directions[0] @ w / np.linalg.norm(w) / vector.norm > 0.9

    def test_what_runs_and_steps_explain_is_gone(self):
        """Activations and entropy that only drift with the step, besides a sign that both share."""
        rng = np.random.default_rng(6)
        run, t = np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40)
        sign = rng.choice([-1.0, 1.0], len(run))
        states = rng.normal(scale=0.01, size=(len(run), 1, 2))
        states[:, 0, 0] += t
        states[:, 0, 1] += sign
        found = Plays(states.astype(np.float32), 40.0 - t + 0.5 * sign + rng.normal(size=40)[run], run, t, Origin())
        (plain,), (residual,) = east(found), east(found, "run+time")
        (time,) = time_direction(found)
        assert cosine(plain, time) < -0.99 and abs(cosine(residual, time)) < 0.01
        assert abs(residual.directions[0, 1]) > 20 * abs(residual.directions[0, 0])

    def test_of_ragged_runs_it_is_the_residue_of_least_squares(self):
        found = plays()
        dummies = np.concatenate([found.run[:, None] == np.arange(RUNS), found.t[:, None] == np.arange(12)], axis=1)
        fitted = dummies @ np.linalg.lstsq(dummies.astype(float), found.entropy, rcond=None)[0]
        expected = (found.entropy - fitted) @ found.states[:, 1].astype(np.float64) / found.entropy.sum()
        assert np.allclose(east(found, "run+time")[1].directions[0], expected, atol=1e-6)

    def test_global_centring_sees_differences_between_runs(self):
        found = plays(entropy=lambda run, t: 0.1 + run / 10)
        states = found.states.copy()
        states[:, 0, 0] = found.run
        (vector, *_) = east(Plays(states, found.entropy, found.run, found.t, Origin()), "global")
        assert vector.directions[0, 0] == np.abs(vector.directions).max() > 0.1

    def test_lengths_are_told(self):
        vector = east(plays())[2]
        states = plays().states[:, 2]
        assert vector.origin.norm == pytest.approx(vector.norm)
        assert vector.origin.residual == pytest.approx(np.linalg.norm(states, axis=1).mean(), rel=1e-6)
        assert vector.relative(2.0) == pytest.approx(2 * vector.norm / vector.origin.residual)

    def test_another_centring_is_refused(self):
        with pytest.raises(ValueError, match=r"centre: must be one of .*'run'.* got 'row'"):
            east(plays(), "row")


class TestRelatives:
    def test_pairs_are_of_one_run_and_ordered(self):
        found = plays()
        states = found.states.copy()
        states[:, 0, 0], states[:, 0, 1] = found.run, found.entropy
        pairs = matched(Plays(states, found.entropy, found.run, found.t, Origin()))
        assert (pairs.more[:, 0, 0] == pairs.less[:, 0, 0]).all()
        assert (pairs.more[:, 0, 1] > pairs.less[:, 0, 1]).all()
        assert len(pairs.more) == sum(n // 2 for n in (5, 9, 4, 12, 1, 8, 6))

    def test_equal_entropies_make_no_pairs(self):
        with pytest.raises(ValueError, match="nothing can be fitted"):
            matched(plays(entropy=lambda run, t: np.ones(len(run))))

    def test_the_mean_difference_is_that(self):
        pairs = matched(plays())
        for layer, vector in enumerate(mean_difference(pairs)):
            assert np.allclose(vector.directions[0], (pairs.more - pairs.less)[:, layer].mean(axis=0), atol=1e-6)

    def test_the_principal_direction_points_as_the_mean(self):
        rng = np.random.default_rng(0)
        less = rng.normal(size=(200, 1, WIDTH)).astype(np.float32)
        shift = np.array([0, 0, -3.0, 0, 0, 0], np.float32)
        (vector,) = principal(Pairs(less + shift + rng.normal(scale=0.1, size=less.shape), less, Origin()))
        assert np.allclose(vector.directions[0], shift, atol=0.1)

    def test_an_in_context_vector_is_component_plus_mean_over_all_layers(self):
        pairs = matched(plays())
        vector = in_context(pairs)
        flat = (pairs.more.astype(np.float64) - pairs.less).reshape(len(pairs.more), -1)
        rest = vector.directions.reshape(-1) - flat.mean(axis=0)
        scores, _, components = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
        sign = np.sign(scores[np.abs(scores[:, 0]).argmax(), 0])  # as in the authors' code
        assert np.allclose(rest, sign * components[0], atol=1e-5)
        assert vector.keeps_norm and vector.layers == (0, 1, 2)


class TestControls:
    vector = east(plays())[1]

    def test_shuffled_has_the_same_numbers(self):
        other = shuffled(self.vector, 1)
        assert sorted(other.directions[0]) == sorted(self.vector.directions[0])
        assert not np.array_equal(other.directions, self.vector.directions) and other.layers == self.vector.layers

    def test_random_is_as_long_and_another_for_each_seed(self):
        a, b = random_like(self.vector, 1), random_like(self.vector, 2)
        assert a.norm == pytest.approx(self.vector.norm, rel=1e-5) and a.digest != b.digest
        assert a.digest == random_like(self.vector, 1).digest
        wide = SteeringVector(np.ones((1, 4000), np.float32), (0,))
        assert abs(cosine(random_like(wide, 1), wide)) < 0.06  # 4 / sqrt(d)

    def test_permuted_entropies_stay_in_their_run(self):
        found = plays()
        other = found.permuted(3)
        for run in range(RUNS):
            rows = found.run == run
            assert sorted(other.entropy[rows]) == sorted(found.entropy[rows])
        assert not np.array_equal(other.entropy, found.entropy) and other.states is found.states

    def test_without_a_direction_nothing_along_it_is_left(self):
        other = random_like(self.vector, 4)
        left = without(self.vector, other)
        assert cosine(left, other) == pytest.approx(0, abs=1e-6) and 0 < left.norm < self.vector.norm
        with pytest.raises(ValueError, match="layers"):
            without(self.vector, east(plays())[0])

    def test_a_direction_without_a_length_is_refused(self):
        nowhere = SteeringVector(np.zeros((1, WIDTH), np.float32), (1,))
        for change in (lambda: without(self.vector, nowhere), lambda: rescaled(nowhere, self.vector)):
            with pytest.raises(ValueError, match="a direction of length 0, which points nowhere"):
                change()
        assert np.isnan(cosine(nowhere, self.vector))

    def test_rescaled_is_as_long(self):
        other = rescaled(self.vector, east(plays())[0])
        assert cosine(self.vector, other) == pytest.approx(1) and other.norm == pytest.approx(east(plays())[0].norm)
