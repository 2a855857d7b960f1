"""The Lai-Robbins lower bound, as a reference for curves of regret."""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr

from icrl.envs.episodes import Episodes
from icrl.envs.types import Floats
from icrl.experiments.measures import MissingColumn


def lai_robbins(runs: Episodes) -> Floats:
    """float[B], in units of reward: sum over arms of gap / KL(arm, best arm), the least regret per ln t.

    Source: Lai and Robbins 1985: the expected regret of every consistent agent is, in the limit, at least this times
    ln t. For Bernoulli rewards, and for Gaussian ones of known sd, where KL is gap^2 / (2 sd^2).

    Raises:
        ValueError: The task is no stationary bandit, or has an unknown sd, or no `means` and `best_arm` that hold for
            the whole episode.
    """
    if runs.public.kind != "bandit":
        raise ValueError(f"task: the Lai-Robbins constant is of stationary bandits, this one is {runs.public.kind!r}")
    if (means := runs.means) is None or runs.best_arm is None:
        raise MissingColumn("means, best_arm: the Lai-Robbins constant needs both columns, the run does not have them")
    best = np.broadcast_to(np.nanmax(means, axis=1)[:, None], means.shape)
    gap = best - means
    if runs.public.reward == "bernoulli":
        kl = rel_entr(means, best) + rel_entr(1 - means, 1 - best)
    elif runs.public.noise_sd is None:
        raise ValueError("noise_sd: the Lai-Robbins constant needs the sd of Gaussian rewards, got None")
    else:
        kl = gap**2 / (2 * runs.public.noise_sd**2)
    cost = np.zeros(means.shape)  # a best arm costs nothing, and neither does an arm that an episode does not have
    np.divide(gap, kl, out=cost, where=gap > 0)
    constant: Floats = cost.sum(axis=1)
    return constant


def lai_robbins_line(runs: Episodes) -> Floats:
    """float[B, T], in units of reward: the constant of `lai_robbins` times ln t, a line to draw beside regret.

    A bound on the slope, in the limit: at small t a good agent may lie on either side of it.
    """
    return lai_robbins(runs)[:, None] * np.log(np.arange(1, runs.horizon + 1))
