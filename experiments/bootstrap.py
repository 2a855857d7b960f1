"""Intervals over episodes: the one bootstrap of every table, curve and estimate.

Always the percentile bootstrap of whole episodes, since the steps within an episode depend on each other. The resamples
depend on `seed` and the number of episodes only, so all agents, curves and differences are resampled alike. It is a
little narrow below some 20 episodes, and NaN with one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning
from scipy.stats import bootstrap as resample

from icrl.envs.types import Bools, Floats

RESAMPLES = 1000
CELLS = 2**22  # numbers held at once: 32 MB


def check_level(level: float) -> None:
    """Raises ValueError unless `level` can be the level of an interval."""
    if not 0 < level < 1:
        raise ValueError(f"level: must lie between 0 and 1, got {level}")


def interval(
    statistic: Callable[..., Any], *columns: Floats, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """A statistic of episodes and its interval, by `scipy.stats.bootstrap`.

    Args:
        statistic: Of `columns` along `axis`, such as `np.mean`.
        *columns: [B] each; an episode is drawn with all of its columns.
        level: Of the interval.
        seed: Of the resamples.

    Returns:
        Value, low and high. All are NaN as soon as one cell is unknown: the mean of the others would mislead. Low and
        high are NaN with one episode, or where the statistic of a resample does not exist.
    """
    if np.isnan(columns).any():
        return np.nan, np.nan, np.nan
    value, b = float(statistic(*columns, axis=-1)), len(columns[0])
    if b < 2:
        return value, np.nan, np.nan
    options: dict[str, Any] = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": RESAMPLES}
    options |= {"confidence_level": level, "batch": max(1, CELLS // b), "rng": np.random.default_rng(seed)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # NaN says it
        found = resample(columns, statistic, **options).confidence_interval
    return value, float(found.low), float(found.high)


def bands(values: Floats | Bools, level: float = 0.95, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Mean over episodes of each column, and its pointwise bootstrap interval.

    The same numbers as `interval` of each column, in matrix products: curves have thousands of columns, and may have
    cells without a number.

    Args:
        values: [B, T]; cells of NaN are left out.
        level: Of the interval.
        seed: Of the resamples.

    Returns:
        Mean, low and high, each [T]; NaN where there is nothing to average, or only one episode to resample.

    Raises:
        ValueError: The level is out of range, or `values` are no table.
    """
    check_level(level)
    if np.ndim(values) != 2:
        raise ValueError(f"values: must be [B, T], got the shape {np.shape(values)}")
    known = ~np.isnan(values)
    filled, b = np.where(known, values, 0.0), len(values)
    mean = _ratio(filled.sum(axis=0), known.sum(axis=0))
    if b < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    parts = [_ratio(w @ filled, w.sum(axis=1)[:, None] if known.all() else w @ known) for w in weights(b, seed)]
    low, high = np.quantile(np.concatenate(parts), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return mean, low, high


def weights(b: int, seed: int) -> Iterator[Floats]:
    """Multinomial weights [R, B], in chunks: how often each episode is drawn in each of `RESAMPLES` resamples."""
    rng, at_once = np.random.default_rng(seed), max(1, CELLS // b)
    for start in range(0, RESAMPLES, at_once):
        rows = np.arange(min(at_once, RESAMPLES - start))[:, None]
        drawn = rng.integers(b, size=(len(rows), b)) + rows * b
        yield np.bincount(drawn.ravel(), minlength=len(rows) * b).reshape(-1, b).astype(np.float64)


def _ratio(total: Floats, count: NDArray[Any]) -> Floats:
    ratio = np.full(total.shape, np.nan)
    np.divide(total, count, out=ratio, where=count > 0)
    return ratio
