"""How many episodes tell two agents apart: confidence sequences, which may be looked at after every episode.

An interval for a fixed number of episodes is too narrow for someone who stops as soon as it excludes 0; the intervals
here hold at all numbers at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from icrl.envs.episodes import Episodes
from icrl.envs.types import Floats
from icrl.experiments import measures
from icrl.experiments.bootstrap import check_level
from icrl.experiments.paired import Measure, paired_values

CELLS = 1000  # of the grid on which means are tested; even, so that a difference of 0 is on it
FEWEST = 30  # episodes from which the asymptotic sequence is shown
TIGHTEST = 200  # episodes at which it is tuned to be tightest


@dataclass(frozen=True)
class ConfidenceSequence:
    """Mean paired difference after 1, 2, ..., B episodes; arrays are [B], in units of the measure."""

    mean: Floats
    low: Floats
    """With probability `level`, the true mean lies between low and high after every number of episodes at once."""
    high: Floats
    decided: int | None
    """Fewest episodes after which 0 is excluded."""
    method: Literal["betting", "asymptotic"]


def confidence_sequence(
    ours: Episodes,
    theirs: Episodes,
    measure: Measure = measures.final_regret,
    *,
    bounds: tuple[float, float] | None = None,
    level: float = 0.95,
) -> ConfidenceSequence:
    """Intervals for the mean paired difference of a measure that hold after every number of episodes.

    With `bounds` the guarantee is exact for every number of episodes: hedged betting, Theorem 3 of Waudby-Smith and
    Ramdas 2024 (JRSS B 86(1), arXiv 2010.09686) with the bets of its equation 26, on a grid, rounded outwards. Without,
    it is asymptotic: Theorem 2.2 of Waudby-Smith et al. 2021 (arXiv 2103.06476), NaN for the first 29 episodes.
    Episodes count as draws of one distribution, in the order given: declare indices beforehand, and keep their order.

    Args:
        ours: Episodes of one agent.
        theirs: Episodes of the other agent, on the same luck.
        measure: Gives [B]; the final pseudo-regret by default.
        bounds: Lowest and highest value that the measure can take, known before play: (0, 1) for a fraction, (0, T
            times the largest gap) for a pseudo-regret.
        level: Of the whole sequence.

    Returns:
        NaN, and not decided, where the measure of an episode is unknown.

    Raises:
        ValueError: The runs did not meet the same luck, or a value lies outside the bounds.
    """
    check_level(level)
    a, b = paired_values(ours, theirs, measure)
    diff = a - b
    mean = np.cumsum(diff) / np.arange(1, len(diff) + 1)
    if bounds is not None:
        _check_bounds(bounds, a, b)
    if np.isnan(diff).any():
        low = high = mean = np.full(len(diff), np.nan)
    elif bounds is None:
        low, high = _asymptotic(diff, mean, 1 - level)
    else:
        span = bounds[1] - bounds[0]
        low, high = (span * (2 * m - 1) for m in _betting((diff / span + 1) / 2, 1 - level))
    out = np.flatnonzero((low > 0) | (high < 0) if bounds is None else (low >= 0) | (high <= 0))  # betting: open ends
    decided = int(out[0]) + 1 if len(out) else None
    return ConfidenceSequence(mean, low, high, decided, "asymptotic" if bounds is None else "betting")


def _check_bounds(bounds: tuple[float, float], *values: Floats) -> None:
    if len(bounds) != 2 or not -np.inf < bounds[0] < bounds[1] < np.inf:
        raise ValueError(f"bounds: must be two finite numbers, the lower first, got {bounds}")
    for column in values:
        if (outside := column[(column < bounds[0]) | (column > bounds[1])]).size:
            raise ValueError(f"bounds: the measure must lie within {bounds}, got {outside[0]:g}")


def _betting(x: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Low and high [B] for the mean of `x` [B] in [0, 1].

    Someone bets on and someone against each candidate mean m; by Ville's inequality the true one makes neither of them
    2 / alpha times richer, ever, with probability 1 - alpha. A bet at step t uses what came before t only.
    """
    t = np.arange(1, len(x) + 1)
    centre = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - centre) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    bets = np.sqrt(2 * np.log(2 / alpha) / (before * t * np.log(t + 1)))
    m = np.linspace(0, 1, CELLS + 1)
    above, below, rich = np.zeros(m.shape), np.zeros(m.shape), np.log(2 / alpha)
    with np.errstate(divide="ignore"):
        most_above, most_below = 0.5 / m, 0.5 / (1 - m)  # no bet may lose more than half
    low, high = np.zeros(len(x)), np.ones(len(x))
    for i, (value, bet) in enumerate(zip(x, bets, strict=True)):
        above += np.log1p(np.minimum(bet, most_above) * (value - m))
        below += np.log1p(np.minimum(bet, most_below) * (m - value))
        low[i] = m[above >= rich].max(initial=0.0)  # wealth falls with m above, and rises with it below
        high[i] = m[below >= rich].min(initial=1.0)
    return low, high


def _asymptotic(diff: Floats, mean: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Low and high [B], NaN for the first episodes."""
    n = np.arange(1, len(diff) + 1)
    off = diff - diff[0]  # near zero, so that squares do not cancel
    sd = np.sqrt(np.maximum(np.cumsum(off**2) / n - (mean - diff[0]) ** 2, 0.0))
    rho2 = (-2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))) / TIGHTEST
    width = sd * np.sqrt(2 * (n * rho2 + 1) / (n**2 * rho2) * np.log(np.sqrt(n * rho2 + 1) / alpha))
    width[: FEWEST - 1] = np.nan
    return mean - width, mean + width
