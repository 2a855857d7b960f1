"""What an episode lost by its choices: functions of one `Episodes`."""

from __future__ import annotations

import numpy as np

from icrl.envs.episodes import Episodes
from icrl.envs.types import Bools, Floats


def pseudo_regret(runs: Episodes) -> Floats:
    """float[B, T], in units of reward: cumulative best mean minus chosen mean.

    A forfeited step costs the instance's largest gap; without `means` that is unknown, and NaN from there on.
    """
    worst = np.full(len(runs), np.nan) if runs.means is None else spread(runs.means)
    gap = np.where(forfeited(runs), worst[:, None], runs.gap)
    return np.cumsum(np.where(played(runs), gap, 0.0), axis=1)


def simple_regret(runs: Episodes) -> Floats:
    """float[B], in units of reward: gap of the last choice, which best-arm identification is about.

    A forfeited recommendation costs the instance's largest gap, NaN without `means`.
    """
    last = np.arange(len(runs)), runs.lengths - 1
    worst = np.full(len(runs), np.nan) if runs.means is None else spread(runs.means)
    return np.where(forfeited(runs)[last], worst, runs.gap[last])


def final_regret(runs: Episodes) -> Floats:
    """float[B], what a task is about in the end: pseudo-regret, or simple regret where only the last choice counts."""
    return simple_regret(runs) if runs.public.kind == "best-arm" else pseudo_regret(runs)[:, -1]


def spread(means: Floats) -> Floats:
    """[B] largest gap of each episode, over the arms that it has."""
    return np.asarray(np.nanmax(means, axis=1) - np.nanmin(means, axis=1))


def played(runs: Episodes) -> Bools:
    """[B, T] steps that there were."""
    return np.arange(runs.horizon) < runs.lengths[:, None]


def forfeited(runs: Episodes) -> Bools:
    """[B, T] steps of which no answer could be read."""
    lost = runs.arms < 0
    return played(runs) & (lost if lost.ndim == 2 else lost.any(axis=2))
