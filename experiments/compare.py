"""Agents side by side: a table of measures, paired tests on the same luck, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from icrl.envs.episodes import Episodes
from icrl.experiments import measures
from icrl.experiments.bootstrap import bands, check_level, interval
from icrl.experiments.paired import failure_test, holm, mean_test, same_luck

__all__ = ["bands", "compare"]

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
        One row per agent. `regret` is the final pseudo-regret (in best-arm tasks the simple regret), with its interval;
        `suffix_failure`, `min_frac`, `greedy_frac`, `best_fraction` (pulls of a best arm), `best_at_end`,
        `median_reward`, `coverage`, `invalid` and `mass` summarise all episodes (see `icrl.metrics`), NaN where the run
        has no such column. `diff` is the mean paired difference of that regret, with its interval; `p` tests it by a
        paired t-test, because the mean is what `diff` reports (a sign test where all differences are equal); `p_suffix`
        tests the suffix failures by McNemar's exact test. Both are Holm-adjusted over the rows, and NaN for the
        baseline.

    Raises:
        ValueError: The runs did not meet the same luck, or an argument is out of range.
    """
    base = _baseline(runs, baseline)
    check_level(level)
    table = pd.DataFrame.from_dict({name: _row(run, level, seed) for name, run in runs.items()}, orient="index")
    pairs = {name: _pair(run, runs[base], level, seed) for name, run in runs.items() if name != base}
    paired = pd.DataFrame.from_dict(pairs, orient="index", columns=["diff", "diff_low", "diff_high", "p", "p_suffix"])
    for column in ("p", "p_suffix"):
        paired[column] = holm(paired[column].to_numpy(dtype=np.float64))
    return table.join(paired.astype(np.float64)).rename_axis("agent")


def _baseline(runs: Mapping[str, Episodes], name: str | None) -> str:
    """The name of the baseline, after a check that all runs met its luck."""
    if not runs:
        raise ValueError("runs: at least one agent is needed, got none")
    name = next(iter(runs)) if name is None else name
    if name not in runs:
        raise ValueError(f"baseline: must be one of {', '.join(map(repr, runs))}, got {name!r}")
    same_luck(runs, name)
    return name


def _row(run: Episodes, level: float, seed: int) -> dict[str, float]:
    mean, low, high = interval(np.mean, measures.final_regret(run), level=level, seed=seed)
    means = {name: _mean(measure, run) for name, measure in _MEANS.items()}
    return {"regret": mean, "regret_low": low, "regret_high": high} | means


def _pair(run: Episodes, base: Episodes, level: float, seed: int) -> tuple[float, ...]:
    diff = measures.final_regret(run) - measures.final_regret(base)
    return *interval(np.mean, diff, level=level, seed=seed), mean_test(diff), _p_suffix(run, base)


def _mean(measure: Callable[[Episodes], NDArray[Any] | float], run: Episodes) -> float:
    """Mean of what is known; NaN if that is nothing."""
    try:
        values = np.asarray(measure(run), dtype=np.float64)
    except measures.MissingColumn:
        return np.nan
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan


def _p_suffix(run: Episodes, base: Episodes) -> float:
    """NaN where best arms are unknown."""
    try:
        return failure_test(run, base)
    except measures.MissingColumn:
        return np.nan
