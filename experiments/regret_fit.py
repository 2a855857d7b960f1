"""The shape of regret over time, as Nie et al. 2024 fit it; of numbers that would say nothing, only the reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar, nnls

from icrl.envs.episodes import Episodes
from icrl.envs.types import Floats
from icrl.experiments.bootstrap import check_level
from icrl.experiments.growth import alone, check_range, mean_curves, quantiles
from icrl.experiments.measures import MissingColumn

ALPHA_MAX = 5.0  # powers of the logarithm that are searched, from 0
EDGE = 0.02  # of that range: an interval that comes so near to an end reaches it


def regret_fit(
    runs: Episodes, *, start: int = 1, stop: int | None = None, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """The fit f(t) = lambda log(t)^alpha / Delta + beta t + c to the mean cumulative pseudo-regret.

    Source: Nie et al. 2024 (EVOLvE, arXiv 2410.06238); good exploration has beta near 0 and a small alpha. Delta is the
    smallest positive gap, averaged over episodes; it only scales lambda. Least squares with lambda, beta >= 0 and alpha
    in [0, 5]: given alpha the rest is linear (`scipy.optimize.nnls`), so that alpha is searched alone, from a grid.

    Args:
        runs: Episodes of a task with `means`.
        start: First step of the range.
        stop: Last step; T by default.
        level: Of the bootstrap intervals over episodes: of chance alone, not of how well such a curve fits.
        seed: Of the resamples.

    Returns:
        Rows `lambda`, `alpha`, `beta`, `c`; columns `estimate`, `low`, `high`, and `withheld`, the reason why there is
        no number or no interval (else None). Beside the reasons of `growth_exponent`: `alpha` is withheld where lambda
        is 0, or where its interval covers all that is allowed; `lambda` and `c` where alpha may be 0, because there
        they grow without bound and cancel.

    Raises:
        ValueError: As for `growth_exponent`, or the run has no `means`.
    """
    check_level(level)
    gap = _smallest_gap(runs)
    start, stop = check_range(runs, start, stop)
    steps, curves, withheld = mean_curves(runs, start, stop, seed)
    table = pd.DataFrame(np.nan, index=["lambda", "alpha", "beta", "c"], columns=["estimate", "low", "high"])
    if not withheld and not curves[0].any():
        withheld = "regret is 0 at all steps"
    if not withheld and np.isnan(gap):
        withheld = "an episode has no gap"
    if not withheld:
        fits = np.array([_fit(steps, curve, gap) for curve in curves])
        table["estimate"] = fits[0]
        table[["low", "high"]] = _intervals(fits[1:], level)
        withheld = alone(runs)
    table["withheld"] = pd.Series([withheld] * 4, table.index, dtype=object)
    return table if withheld else _identified(table)


def _smallest_gap(runs: Episodes) -> float:
    """Mean over episodes; NaN if an episode has no gap at all."""
    if (means := runs.means) is None:
        raise MissingColumn("means: the fit needs the column 'means', which the run does not have")
    gaps = np.nanmax(means, axis=1)[:, None] - means
    smallest = np.where(gaps > 0, gaps, np.inf).min(axis=1)
    return float(np.where(np.isinf(smallest), np.nan, smallest).mean())


def _fit(steps: Floats, curve: Floats, gap: float) -> tuple[float, float, float, float]:
    """Lambda, alpha, beta, c; alpha is NaN where lambda is 0."""

    def design(alpha: float) -> Floats:
        return np.stack([np.log(steps) ** alpha / gap, steps], axis=1)

    def solve(alpha: float) -> tuple[Floats, float]:
        parts = design(alpha)  # centred, so that c is free
        return nnls(parts - parts.mean(axis=0), curve - curve.mean())

    grid = np.linspace(0, ALPHA_MAX, 21)
    at = int(np.argmin([solve(alpha)[1] for alpha in grid]))
    around = (grid[max(at - 1, 0)], grid[min(at + 1, 20)])
    alpha = float(minimize_scalar(lambda alpha: solve(alpha)[1], bounds=around, method="bounded").x)
    scale, slope = solve(alpha)[0]
    c = float(curve.mean() - design(alpha).mean(axis=0) @ [scale, slope])
    return float(scale), alpha if scale > 0 else np.nan, float(slope), c


def _intervals(fits: Floats, level: float) -> Floats:
    """[4, 2]; a resample without a logarithm fits every alpha, so it counts as the least and as the greatest."""
    low = quantiles(np.where(np.isnan(fits), 0.0, fits), level)[0]
    high = quantiles(np.where(np.isnan(fits), ALPHA_MAX, fits), level)[1]
    return np.stack([low, high], axis=1)


def _identified(table: pd.DataFrame) -> pd.DataFrame:
    """The table without the numbers that say nothing."""
    low, high = table.loc["alpha", ["low", "high"]].to_numpy(dtype=np.float64) / ALPHA_MAX
    if table.at["lambda", "estimate"] == 0:
        reasons = {"alpha": "lambda is 0: there is no logarithm whose power could be told"}
    else:
        factor = "alpha may be 0, where lambda and c cancel"
        reasons = {"lambda": factor, "c": factor} if low < EDGE else {}
        if low < EDGE and high > 1 - EDGE:
            reasons["alpha"] = "the interval of alpha covers all that is allowed"
    for row, reason in reasons.items():
        table.loc[row, ["estimate", "low", "high"]] = np.nan
        table.loc[row, "withheld"] = reason
    return table
