"""Two agents on common luck: differences of one declared measure, equivalence, failures, corrections.

An episode index is the same luck for every agent, so episodes are compared one by one, and what luck did to both
cancels. A measure is a function of `Episodes` that gives one number per episode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import permutation_test, ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from icrl.envs.episodes import Episodes
from icrl.envs.types import Floats
from icrl.experiments import measures
from icrl.experiments.bootstrap import CELLS, check_level, interval

PERMUTATIONS = 9999

Measure = Callable[[Episodes], NDArray[Any]]
"""Gives [B], one number per episode."""


@dataclass(frozen=True)
class Difference:
    """A paired comparison over `n` episodes; all numbers are NaN where the measure of an episode is unknown."""

    n: int
    ours: float
    """Mean of the measure."""
    theirs: float
    diff: float
    """Mean of ours minus theirs, in units of the measure; `low` and `high` are its interval."""
    low: float
    high: float
    p: float
    """Two-sided; of the hypothesis that swapping the agents of an episode changes nothing. NaN with one episode."""


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests over `n` episodes that a mean difference lies within ±`margin`."""

    n: int
    margin: float
    diff: float
    low: float
    """`low` and `high`: the t-interval of level 2 level - 1, which lies within the margin if `equivalent`."""
    high: float
    p: float
    equivalent: bool


def paired_difference(
    ours: Episodes, theirs: Episodes, measure: Measure = measures.final_regret, *, level: float = 0.95, seed: int = 0
) -> Difference:
    """The mean paired difference of a measure, its bootstrap interval, and a permutation test.

    The test flips the signs of the differences (`scipy.stats.permutation_test`): all 2^B ways up to 13 episodes, else
    9999 random ones, of which the observed one is one more.

    Args:
        ours: Episodes of one agent.
        theirs: Episodes of the other agent, on the same luck.
        measure: Gives [B]; the final pseudo-regret by default.
        level: Of the interval, below 1.
        seed: Of the resamples and permutations.

    Raises:
        ValueError: The runs did not meet the same luck, or an argument is out of range.
    """
    check_level(level)
    a, b = paired_values(ours, theirs, measure)
    diff, low, high = interval(np.mean, a - b, level=level, seed=seed)
    return Difference(len(a), float(a.mean()), float(b.mean()), diff, low, high, _p_flips(a - b, seed))


def equivalence(
    ours: Episodes, theirs: Episodes, margin: float, measure: Measure = measures.final_regret, *, level: float = 0.95
) -> Equivalence:
    """Whether a mean paired difference lies within ±margin: two one-sided t-tests (Schuirmann 1987; statsmodels).

    Not finding a difference is no evidence of equality; this is. Where all differences are equal there is no t
    statistic, and each side is tested by its signs.

    Args:
        ours: Episodes of one agent.
        theirs: Episodes of the other agent, on the same luck.
        margin: The largest difference that does not matter, in units of the measure, chosen before looking.
        measure: Gives [B]; the final pseudo-regret by default.
        level: 1 - level is the probability of calling agents equivalent that are not.

    Returns:
        NaN, and not equivalent, with one episode or where the measure of an episode is unknown.

    Raises:
        ValueError: The runs did not meet the same luck, or an argument is out of range.
    """
    check_level(level)
    if not 0 < margin < np.inf:
        raise ValueError(f"margin: must be a positive number, got {margin}")
    a, b = paired_values(ours, theirs, measure)
    diff = a - b
    mean, low, high, p = float(diff.mean()), np.nan, np.nan, np.nan
    if _testable(diff) and constant(diff):
        low, high, p = mean, mean, 0.5 ** len(diff) if abs(mean) < margin else 1.0
    elif _testable(diff):
        stats = DescrStatsW(diff)
        p = float(stats.ttost_mean(-margin, margin)[0])
        low, high = map(float, stats.tconfint_mean(alpha=2 * (1 - level)))
    return Equivalence(len(diff), margin, mean, low, high, p, bool(p < 1 - level))


def failure_test(ours: Episodes, theirs: Episodes, failure: Measure = measures.suffix_failure) -> float:
    """The p-value of McNemar's exact test that both agents fail equally often on the same luck (statsmodels).

    Args:
        ours: Episodes of one agent.
        theirs: Episodes of the other agent, on the same luck.
        failure: Gives bool[B]; suffix failures from T / 2 on by default.

    Raises:
        ValueError: The runs did not meet the same luck, or lack a column that `failure` needs.
    """
    a, b = paired_values(ours, theirs, failure)
    if not np.isin([a, b], [0, 1]).all():
        raise ValueError("failure: must give true or false for each episode, got other values")
    table = np.histogram2d(a, b, bins=2, range=[[0, 1], [0, 1]])[0]
    return float(mcnemar(table, exact=True).pvalue)


def mean_test(diff: Floats) -> float:
    """Paired t-test that the mean difference is 0, two-sided; the exact sign test where all differences are equal.

    NaN with one episode, or where a difference [B] is unknown.
    """
    if not _testable(diff):
        return np.nan
    if constant(diff):  # no spread, no t statistic
        return 1.0 if diff[0] == 0 else 0.5 ** (len(diff) - 1)
    return float(ttest_1samp(diff, 0.0).pvalue)


def holm(p: Floats) -> Floats:
    """P-values [N] of a family of N tests, adjusted by Holm's method (statsmodels); NaN is no test and stays.

    Raises:
        ValueError: They do not lie in [0, 1].
    """
    p = np.asarray(p, dtype=np.float64)
    if (wrong := p[(p < 0) | (p > 1)]).size:
        raise ValueError(f"p: must lie in [0, 1], got {wrong[0]:g}")
    known, adjusted = ~np.isnan(p), np.full(p.shape, np.nan)
    if known.any():
        adjusted[known] = multipletests(p[known], method="holm")[1]
    return adjusted


def same_luck(runs: Mapping[str, Episodes], base: str) -> None:
    """Raises ValueError unless all runs are of the task, seed and episodes of `runs[base]`."""
    for other, run in runs.items():
        for part in ("task", "seed", "episode"):
            if not np.array_equal(getattr(run, part), getattr(runs[base], part)):
                raise ValueError(f"runs: {other!r} and {base!r} differ in {part}, so they did not meet the same luck")


def paired_values(ours: Episodes, theirs: Episodes, measure: Measure) -> tuple[Floats, Floats]:
    """The measure of both runs, [B] each.

    Raises:
        ValueError: The runs did not meet the same luck, or the measure does not give one number per episode.
    """
    same_luck({"ours": ours, "theirs": theirs}, "theirs")
    a, b = (np.asarray(measure(runs), dtype=np.float64) for runs in (ours, theirs))
    for values in (a, b):
        if values.shape != (len(ours),):
            raise ValueError(f"measure: must give [B] = ({len(ours)},), one number per episode, got {values.shape}")
    if not len(ours):
        raise ValueError("runs: at least one episode is needed, got none")
    return a, b


def _testable(diff: Floats) -> bool:
    return len(diff) > 1 and not np.isnan(diff).any()


def constant(values: Floats) -> bool:
    """Whether values [N], none of them NaN, differ by rounding only."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def _p_flips(diff: Floats, seed: int) -> float:
    if not _testable(diff):
        return np.nan
    options: dict[str, Any] = {"permutation_type": "samples", "vectorized": True, "n_resamples": PERMUTATIONS}
    batch = max(1, CELLS // 2 // len(diff))  # scipy holds some eight arrays of this many rows: 130 MB
    options |= {"batch": batch, "rng": np.random.default_rng(seed)}
    return float(permutation_test((diff,), np.mean, **options).pvalue)
