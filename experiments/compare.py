"""Agents side by side: a table of measures, paired tests on the same luck, bootstrap intervals.

One method for every interval: the percentile bootstrap of the mean over episodes. The resamples depend on `seed` and
the number of episodes only, so all agents, curves and differences are resampled alike. It is a little narrow below
some 20 episodes, and NaN with one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from icrl.envs.episodes import Episodes
from icrl.envs.types import Bools, Floats
from icrl.experiments import measures

RESAMPLES = 1000
CELLS = 2**22  # weights held at once: 32 MB

_MEANS: dict[str, Callable[[Episodes], NDArray[Any] | float]] = {
    "suffix_failure": measures.suffix_failure,
    "min_frac": measures.min_frac,
    "greedy_frac": measures.greedy_frac,
    "best_fraction": lambda runs: measures.optimal_fraction(runs)[:, -1],
    "best_at_end": measures.best_at_end,
    "median_reward": measures.median_reward,
    "coverage": lambda runs: measures.coverage(runs)[:, -1],
    "invalid": measures.invalid_rate,
    "mass": measures.label_mass,
}


def compare(
    runs: Mapping[str, Episodes], *, baseline: str | None = None, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Measures of each agent, and its paired differences from a baseline.

    Args:
        runs: Episodes by name of the agent, all of the same task, seed and episode indices.
        baseline: The name to compare with; the first by default.
        level: Of the intervals, below 1.
        seed: Of the bootstrap.

    Returns:
        One row per agent. `regret` is the final pseudo-regret, with its interval; `suffix_failure`, `min_frac`,
        `greedy_frac`, `best_fraction` (pulls of a best arm), `best_at_end`, `median_reward`, `coverage`, `invalid` and
        `mass` summarise all episodes (see `icrl.metrics`), NaN where the run has no such column. `diff` is the mean
        paired difference of the final pseudo-regret, with its interval; `p` tests it by a paired t-test, because
        the mean is what `diff` reports (a sign test where all differences are equal); `p_suffix` tests the suffix
        failures by McNemar's exact test. Both are Holm-adjusted over the rows, and NaN for the baseline.

    Raises:
        ValueError: The runs did not meet the same luck, or an argument is out of range.
    """
    base = _baseline(runs, baseline)
    if not 0 < level < 1:
        raise ValueError(f"level: must lie between 0 and 1, got {level}")
    table = pd.DataFrame.from_dict({name: _row(run, level, seed) for name, run in runs.items()}, orient="index")
    pairs = {name: _pair(run, runs[base], level, seed) for name, run in runs.items() if name != base}
    paired = pd.DataFrame.from_dict(pairs, orient="index", columns=["diff", "diff_low", "diff_high", "p", "p_suffix"])
    for column in ("p", "p_suffix"):
        paired[column] = _holm(paired[column].to_numpy(dtype=np.float64))
    return table.join(paired.astype(np.float64)).rename_axis("agent")


def bands(values: Floats | Bools, level: float = 0.95, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Mean over episodes of each column, and its pointwise bootstrap interval.

    Args:
        values: [B, T]; cells of NaN are left out.
        level: Of the interval.
        seed: Of the resamples.

    Returns:
        Mean, low and high, each [T]; NaN where there is nothing to average, or only one episode to resample.
    """
    known = ~np.isnan(values)
    filled, b = np.where(known, values, 0.0), len(values)
    mean = _ratio(filled.sum(axis=0), known.sum(axis=0))
    if b < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    parts = [_ratio(w @ filled, w.sum(axis=1)[:, None] if known.all() else w @ known) for w in _weights(b, seed)]
    low, high = np.quantile(np.concatenate(parts), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return mean, low, high


def _weights(b: int, seed: int) -> Iterator[Floats]:
    """Multinomial weights [R, B], in chunks: how often each episode is drawn in each resample."""
    rng, at_once = np.random.default_rng(seed), max(1, CELLS // b)
    for start in range(0, RESAMPLES, at_once):
        rows = np.arange(min(at_once, RESAMPLES - start))[:, None]
        drawn = rng.integers(b, size=(len(rows), b)) + rows * b
        yield np.bincount(drawn.ravel(), minlength=len(rows) * b).reshape(-1, b).astype(np.float64)


def _ratio(total: Floats, count: NDArray[Any]) -> Floats:
    ratio = np.full(total.shape, np.nan)
    np.divide(total, count, out=ratio, where=count > 0)
    return ratio


def _baseline(runs: Mapping[str, Episodes], name: str | None) -> str:
    """The name of the baseline, after a check that all runs met its luck."""
    if not runs:
        raise ValueError("runs: at least one agent is needed, got none")
    name = next(iter(runs)) if name is None else name
    if name not in runs:
        raise ValueError(f"baseline: must be one of {', '.join(map(repr, runs))}, got {name!r}")
    for other, run in runs.items():
        for part in ("task", "seed", "episode"):
            if not np.array_equal(getattr(run, part), getattr(runs[name], part)):
                raise ValueError(f"runs: {other!r} and {name!r} differ in {part}, so they did not meet the same luck")
    return name


def _row(run: Episodes, level: float, seed: int) -> dict[str, float]:
    mean, low, high = _interval(_final(run), level, seed)
    means = {name: _mean(measure, run) for name, measure in _MEANS.items()}
    return {"regret": mean, "regret_low": low, "regret_high": high} | means


def _pair(run: Episodes, base: Episodes, level: float, seed: int) -> tuple[float, ...]:
    diff = _final(run) - _final(base)
    return *_interval(diff, level, seed), _p_mean(diff), _p_suffix(run, base)


def _final(run: Episodes) -> Floats:
    return measures.pseudo_regret(run)[:, -1]


def _interval(values: Floats, level: float, seed: int) -> tuple[float, float, float]:
    """NaN as soon as one value is unknown: the mean of the others would mislead."""
    if np.isnan(values).any():
        return np.nan, np.nan, np.nan
    mean, low, high = bands(values[:, None], level, seed)
    return float(mean[0]), float(low[0]), float(high[0])


def _mean(measure: Callable[[Episodes], NDArray[Any] | float], run: Episodes) -> float:
    """Mean of what is known; NaN if that is nothing."""
    try:
        values = np.asarray(measure(run), dtype=np.float64)
    except measures.MissingColumn:
        return np.nan
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan


def _p_mean(diff: Floats) -> float:
    """Paired t-test that the mean difference is 0; NaN with one episode, or where regret is unknown."""
    if len(diff) < 2 or np.isnan(diff).any():
        return np.nan
    if np.allclose(diff, diff[0], atol=1e-9):  # no spread, no t statistic: the exact sign test
        return 1.0 if np.isclose(diff[0], 0.0, atol=1e-9) else 0.5 ** (len(diff) - 1)
    return float(ttest_1samp(diff, 0.0).pvalue)


def _p_suffix(run: Episodes, base: Episodes) -> float:
    """McNemar's exact test that both fail equally often; NaN where best arms are unknown."""
    try:
        ours, theirs = measures.suffix_failure(run), measures.suffix_failure(base)
    except measures.MissingColumn:
        return np.nan
    table = np.histogram2d(ours, theirs, bins=2, range=[[0, 1], [0, 1]])[0]
    return float(mcnemar(table, exact=True).pvalue)


def _holm(p: Floats) -> Floats:
    known, adjusted = ~np.isnan(p), np.full(p.shape, np.nan)
    if known.any():
        adjusted[known] = multipletests(p[known], method="holm")[1]
    return adjusted
