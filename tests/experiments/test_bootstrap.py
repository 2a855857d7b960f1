"""The bootstrap: equal to scipy's, whole episodes, NaN where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from icrl.experiments.bootstrap import bands, interval


def test_bands_are_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(0).exponential(size=(23, 3))
    mean, low, high = bands(values, level=0.9, seed=4)
    for t, column in enumerate(values.T):
        rng = np.random.default_rng(4)
        theirs = bootstrap((column,), np.mean, method="percentile", n_resamples=1000, confidence_level=0.9, rng=rng)
        assert (low[t], high[t]) == pytest.approx(theirs.confidence_interval)
        assert (mean[t], low[t], high[t]) == pytest.approx(interval(np.mean, column, level=0.9, seed=4))


def test_an_episode_is_drawn_with_all_its_columns() -> None:
    x = np.random.default_rng(0).normal(size=30)
    value, low, high = interval(lambda a, b, axis: a.sum(axis=axis) - b.sum(axis=axis), x, x - 1)
    assert (value, low, high) == pytest.approx((30, 30, 30))  # drawn apart, the sums would differ by chance


def test_unknown_cells_and_single_episodes_have_no_interval() -> None:
    assert np.isnan(interval(np.mean, np.array([1.0, np.nan, 3.0]))).all()
    value, low, high = interval(np.mean, np.array([2.0]))
    assert value == 2 and np.isnan([low, high]).all()


def test_a_statistic_that_some_resample_lacks_has_no_interval() -> None:
    def harmonic(x: np.ndarray, axis: int) -> np.ndarray:
        return np.where((total := x.sum(axis=axis)) > 0, total, np.nan)

    value, low, high = interval(harmonic, np.array([1.0, 0.0, 0.0]))
    assert value == 1 and np.isnan([low, high]).all()
