"""What another policy would have earned, from the probabilities stored in a log.

Every estimate is of the target's mean reward per step *at the histories of the log*: one decision of the target at each
logged step. For a target that does not look at the history that is the value of playing it. For one that learns it
is not, since it would have met histories of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from icrl.envs.episodes import Episodes
from icrl.envs.types import Bools, Floats
from icrl.experiments.bootstrap import check_level, interval
from icrl.experiments.measures import MissingColumn

ROUNDING = 1e-3  # float32 probabilities of many arms add up to 1 this nearly


def off_policy(
    log: Episodes,
    target: Floats,
    *,
    reward_model: Floats | None = None,
    adaptive: bool = False,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimates of a target policy's mean reward per step at the histories of a log.

    With the weight w = target / log of the arm that was chosen, over all steps at which an arm was chosen: `ips` is the
    mean of w r (Horvitz and Thompson 1952), `snips` the sum of w r over the sum of w (Swaminathan and Joachims 2015),
    and `dr`, doubly robust, the mean of sum_a target(a) q(a) + w (r - q(arm)) (Dudik, Langford and Li 2011). IPS
    and DR have no bias whether or not the agent of the log learns, provided that q looks at no later reward.

    `adaptive` weights the steps of an episode in proportion to h = (sum_a target(a)^2 / log(a))^(-1/2), which steadies
    the variance where an agent that learns leaves an arm: for a target that always pulls one arm these are the
    square roots of its propensities, the variance-stabilising weights of Hadad et al. 2021 (PNAS 118(15)); for other
    targets, those of Zhan et al. 2021 (KDD). They are meant for a target whose value is the same at all steps, and
    for few, long episodes: they trade variance for a bias (of a few hundredths after 100 Bernoulli steps) that falls
    with T, but not with the number of episodes. The intervals of many independent episodes need no such weights.

    Args:
        log: Episodes with `probs`, one arm per step.
        target: [B, T, K] probabilities of the target, such as the `probs` of a replay.
        reward_model: [B, T, K] the q of `dr`; by default each arm's mean reward so far in its episode (for an untried
            arm that of all pulls so far, 0 before the first).
        adaptive: Whether to weight steps as above.
        level: Of the bootstrap intervals over episodes.
        seed: Of the resamples.

    Returns:
        Rows `ips`, `snips`, `dr`; columns `estimate`, `low`, `high`, `steps` (those that count), and `ess`, the
        effective sample size (sum w)^2 / sum w^2 of steps (Kish), w times h where `adaptive`. An estimate is NaN where
        a reward is unknown.

    Raises:
        ValueError: The log has no `probs`, a shape is wrong, or the target puts weight where the log put none.
    """
    check_level(level)
    used, arm = _steps(log), np.maximum(log.arms, 0)[:, :, None]
    probs = _checked(log, target, used)
    target, rewards = np.where(used[:, :, None], target, 0.0), np.where(used, log.rewards, 0.0)
    model = _running_means(log, used) if reward_model is None else _shaped("reward_model", reward_model, probs)
    ratio = np.divide(target, probs, out=np.zeros(probs.shape), where=target > 0)
    h = _stabilising(target * ratio, used) if adaptive else used.astype(np.float64)
    weight = h * _chosen(ratio, arm)
    direct = np.where(target > 0, target * model, 0.0).sum(axis=2)
    robust = h * direct + weight * np.where(weight > 0, rewards - _chosen(model, arm), 0.0)
    steps = used.sum(axis=1).astype(np.float64)
    sums = {"ips": (weight * rewards, steps), "snips": (weight * rewards, weight.sum(axis=1)), "dr": (robust, steps)}
    rows = {n: interval(_quotient, a.sum(axis=1), b, level=level, seed=seed) for n, (a, b) in sums.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["estimate", "low", "high"])
    squares = (weight**2).sum()
    return table.assign(steps=int(steps.sum()), ess=float(weight.sum() ** 2 / squares) if squares else 0.0)


def _probs(runs: Episodes) -> Floats:
    if runs.arms.ndim != 2:
        raise MissingColumn(f"arms: one arm per step is needed, this task chooses {runs.public.slots} at once")
    if runs.probs is None:
        raise MissingColumn("probs: the probabilities of the log are needed, the run does not have them")
    return runs.probs


def _steps(runs: Episodes) -> Bools:
    """bool[B, T]: the step was played, and an arm chosen."""
    _probs(runs)
    used: Bools = (np.arange(runs.horizon) < runs.lengths[:, None]) & (runs.arms >= 0)
    return used


def _checked(log: Episodes, target: Floats, used: Bools) -> Floats:
    """The log's probabilities, after a check of the target's."""
    probs = _probs(log)
    _shaped("target", target, probs)
    proper = (target >= 0).all(axis=2) & (np.abs(target.sum(axis=2) - 1) < ROUNDING)
    if (bad := used & ~proper).any():
        raise ValueError(f"target: must hold probabilities that add up to 1, which fails at {_first(log, bad)}")
    if (bad := used & np.isnan(probs).any(axis=2)).any():
        raise ValueError(
            f"log: its probabilities are unknown at {_first(log, bad)}; icrl.agents.Stating makes algorithms tell them"
        )
    if (bad := used & ((target > 0) & ~(probs > 0)).any(axis=2)).any():
        raise ValueError(f"target: gives weight to an arm that the log never chooses, at {_first(log, bad)}")
    return probs


def _first(log: Episodes, cells: Bools) -> str:
    b, t = np.argwhere(cells)[0]
    return f"(episode, step) = ({log.episode[b]}, {t})"


def _shaped(name: str, values: Floats, probs: Floats) -> Floats:
    if values.shape != probs.shape:
        raise ValueError(f"{name}: must have the shape [B, T, K] = {probs.shape}, got {values.shape}")
    return values


def _chosen(values: Floats, arm: Any) -> Floats:
    picked: Floats = np.take_along_axis(values, arm, axis=2)[:, :, 0]
    return picked


def _quotient(total: Floats, count: Floats, axis: int) -> Floats:
    total, count = total.sum(axis=axis), count.sum(axis=axis)
    quotient: Floats = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    return quotient


def _stabilising(squares: Floats, used: Bools) -> Floats:
    """float[B, T] weights h of the steps, with mean 1 over the steps of each episode that count."""
    h: Floats = np.where(used, np.where(used, squares.sum(axis=2), 1.0) ** -0.5, 0.0)
    total = h.sum(axis=1, keepdims=True)
    h *= used.sum(axis=1, keepdims=True) / np.where(total > 0, total, 1.0)
    return h


def _running_means(log: Episodes, used: Bools) -> Floats:
    """float[B, T, K]: before each step, the mean reward of each arm so far."""
    pulls = (log.arms[:, :, None] == np.arange(log.public.n_arms)) & used[:, :, None]
    paid = np.where(pulls, log.rewards[:, :, None], 0.0)
    count, total = np.cumsum(pulls, axis=1) - pulls, np.cumsum(paid, axis=1) - paid
    overall = total.sum(axis=2) / np.maximum(count.sum(axis=2), 1)
    means: Floats = np.where(count > 0, total / np.maximum(count, 1), overall[:, :, None])
    return means
