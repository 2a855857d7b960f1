"""How fast regret grows: the exponent of its mean over episodes.

A number that would say nothing is withheld: NaN, with the reason beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icrl.envs.episodes import Episodes
from icrl.envs.types import Floats
from icrl.experiments.bootstrap import check_level, weights
from icrl.experiments.measures import pseudo_regret

POINTS = 100  # steps that are fitted, evenly spaced
FEWEST, FACTOR = 10, 4  # a range shows growth if it has so many steps, and its end is so many times its start


@dataclass(frozen=True)
class Growth:
    """Mean pseudo-regret grows like t ** exponent from step `start` to step `stop`."""

    exponent: float
    """0.5 is the minimax rate, 1 linear; logarithmic growth comes out as about 1 / ln t."""
    low: float
    high: float
    start: int
    stop: int
    withheld: str | None
    """Why there is no number, or (with one episode) no interval."""


def growth_exponent(
    runs: Episodes, *, start: int | None = None, stop: int | None = None, level: float = 0.95, seed: int = 0
) -> Growth:
    """The slope of log mean cumulative pseudo-regret against log t, by least squares over steps evenly spaced.

    Args:
        runs: Episodes whose regret is known.
        start: First step of the range, from 1; T // 10 by default, since the first pulls of all arms are no growth.
        stop: Last step; T by default.
        level: Of the bootstrap interval over episodes.
        seed: Of the resamples.

    Returns:
        The exponent, or NaN with the reason: regret unknown or 0, an episode that ends early, a range of less than 10
        steps or less than a factor of 4.

    Raises:
        ValueError: The range does not lie in 1, ..., T, or the level not between 0 and 1.
    """
    check_level(level)
    start, stop = check_range(runs, max(1, runs.horizon // 10) if start is None else start, stop)
    steps, curves, withheld = mean_curves(runs, start, stop, seed)
    if not withheld and not (curves > 0).all():
        withheld = f"regret is 0 at step {steps[(curves <= 0).any(axis=0).argmax()]:g}, in the mean or in a resample"
    slope, low, high = np.nan, np.nan, np.nan
    if not withheld:
        slopes = np.polyfit(np.log(steps), np.log(curves.T), 1)[0]
        slope, (low, high) = slopes[0], quantiles(slopes[1:], level)
        withheld = alone(runs)
    return Growth(float(slope), float(low), float(high), start, stop, withheld)


def check_range(runs: Episodes, start: int, stop: int | None) -> tuple[int, int]:
    """The range with its end filled in; ValueError if it does not lie in 1, ..., T."""
    stop = runs.horizon if stop is None else stop
    if not 1 <= start <= stop <= runs.horizon:
        raise ValueError(f"start, stop: must be steps with 1 <= start <= stop <= {runs.horizon}, got {start} to {stop}")
    return start, stop


def mean_curves(runs: Episodes, start: int, stop: int, seed: int) -> tuple[Floats, Floats, str | None]:
    """Steps [N]; mean regret at them, [1 + R, N], of all episodes and of each resample; or the reason for none."""
    steps = np.unique(np.linspace(start, stop, POINTS).round())
    curves = pseudo_regret(runs)[:, steps.astype(np.int64) - 1]
    why = None
    if stop < FACTOR * start or stop - start + 1 < FEWEST:
        why = f"steps {start} to {stop} are too few: at least {FEWEST}, over a factor of {FACTOR}, show growth"
    elif not len(runs) or runs.lengths.min() < stop:
        why = f"not every episode reaches step {stop}"
    elif np.isnan(curves).any():
        why = "the regret of an episode is unknown"
    if runs.public.trials > 1:
        why = "an episode is several games"
    if why:
        return steps, curves[:0], why
    resampled = [w @ curves / len(runs) for w in weights(len(runs), seed)] if len(runs) > 1 else []
    return steps, np.concatenate([curves.mean(axis=0)[None], *resampled]), None


def alone(runs: Episodes) -> str | None:
    """Why there is no interval."""
    return "one episode has no interval" if len(runs) < 2 else None


def quantiles(values: Floats, level: float) -> Floats:
    """Low and high [2, ...] of resamples [R, ...]; NaN where there are none."""
    if not len(values):
        return np.full((2, *values.shape[1:]), np.nan)
    found: Floats = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return found
