"""What a run shows about exploration: functions of one `Episodes`, in numpy, without an object per step.

T is each episode's own length: cells past it repeat its last value, and fractions are taken of the steps played.
A best arm is one with the highest mean; where several tie, each of them counts. A forfeited step (arm -1) is charged
as a pull of the worst arm that paid exactly its mean, so that no agent gains by not answering.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from icrl.envs.episodes import Episodes
from icrl.envs.regret import final_regret as final_regret
from icrl.envs.regret import forfeited, played, spread
from icrl.envs.regret import pseudo_regret as pseudo_regret
from icrl.envs.regret import simple_regret as simple_regret
from icrl.envs.types import Bools, Floats, Ints


class MissingColumn(ValueError):
    """A measure was asked for a column that the run does not have."""


def error(runs: Episodes) -> Floats:
    """float[B]: 1 where the last choice names no best arm, NaN where that is unknown: its mean is how often it errs."""
    regret = simple_regret(runs)
    return np.where(np.isnan(regret), np.nan, regret > 0)


def weak_regret(runs: Episodes) -> Floats:
    """float[B, T] of a duel: cumulative gap of the better of the two arms (Yue et al. 2012).

    `pseudo_regret` is the strong regret, of both arms on average. A forfeited duel costs the largest gap.
    """
    if runs.arms.ndim != 3:
        raise MissingColumn("arms: weak regret is of duels, this task chooses one arm per step")
    means = _need(runs, "means")
    gaps = means.max(axis=1, keepdims=True) - means
    lost = forfeited(runs)
    own = np.take_along_axis(gaps[:, None], np.where(lost[..., None], 0, runs.arms.clip(0)), axis=2).min(axis=2)
    return np.cumsum(np.where(played(runs), np.where(lost, gaps.max(axis=1)[:, None], own), 0.0), axis=1)


def model_calls(runs: Episodes) -> Ints:
    """int[B]: steps at which a language model was asked."""
    calls: Ints = (_need(runs, "usage")[:, :, 0] >= 0).sum(axis=1)
    return calls


def realised_regret(runs: Episodes) -> Floats:
    """float[B, T], in units of reward: cumulative best mean minus reward received; noisy, may be negative.

    A forfeited step counts as a reward of the worst arm's mean, so it costs what it costs in `pseudo_regret`.
    """
    _arms(runs)
    best = np.nanmax(_need(runs, "means"), axis=1)[:, None]
    return np.cumsum(np.where(played(runs), best - _received(runs), 0.0), axis=1)


def average_reward(runs: Episodes) -> Floats:
    """float[B], in units of reward: mean over the steps played.

    A forfeited step counts as the worst arm's mean, or as 0 in tasks that have no `means`.
    """
    return _per(_received(runs).sum(axis=1), _steps(runs))


def median_reward(runs: Episodes) -> float:
    """Median over episodes of the average reward, where 0 is the worst arm's mean and 1 the best arm's.

    Source: MedianReward of Krishnamurthy et al. 2024. NaN if in some episode all means are equal.
    """
    _arms(runs)
    means = _need(runs, "means")
    low, span = np.nanmin(means, axis=1), spread(means)
    return float(np.median((average_reward(runs) - low) / np.where(span > 0, span, np.nan)))


def suffix_failure_curve(runs: Episodes) -> Bools:
    """bool[B, T]: no best arm is chosen from step t on, t included; column t - 1 holds step t of 1, ..., T.

    Source: SuffFail(t, R) of Krishnamurthy et al. 2024. It never falls with t.
    """
    later = np.logical_or.accumulate(_best_pulls(runs)[:, ::-1], axis=1)[:, ::-1]
    last = np.minimum(np.arange(runs.horizon), runs.lengths[:, None] - 1)
    return ~np.take_along_axis(later, last, axis=1)


def suffix_failure(runs: Episodes, t: int | None = None) -> Bools:
    """bool[B]: no best arm is chosen in any of the steps t, ..., T; by default t = T // 2.

    Source: SuffFail of Krishnamurthy et al. 2024, whose headline number is its mean at T / 2.
    """
    step = np.maximum(runs.lengths // 2, 1) if t is None else np.full(len(runs), _step(runs, t))
    failed: Bools = suffix_failure_curve(runs)[np.arange(len(runs)), step - 1]
    return failed


def min_frac(runs: Episodes, t: int | None = None) -> Floats:
    """float[B] in [0, 1]: K times the share of the least pulled arm in the first t steps; by default t = T.

    K counts the arms that the episode has.

    1 is uniform play, 0 an arm never tried. Source: K * MinFrac(t) of Krishnamurthy et al. 2024.
    """
    arms, n_arms, there = _same_arms(runs), runs.public.n_arms, _there(runs)
    steps = _steps(runs) if t is None else _steps(runs).clip(max=_step(runs, t))
    inside = (np.arange(runs.horizon) < steps[:, None]) & (arms >= 0)
    cells = (arms + n_arms * np.arange(len(runs))[:, None])[inside]
    pulls = np.bincount(cells, minlength=len(runs) * n_arms).reshape(len(runs), n_arms)
    return _per(there.sum(axis=1) * np.where(there, pulls, runs.horizon).min(axis=1), steps)


def greedy_frac(runs: Episodes) -> Floats:
    """float[B] in [0, 1]: share of steps whose arm has the highest empirical mean so far, or is untried.

    Ties count. Source: GreedyFrac of Krishnamurthy et al. 2024; their numbers come out only if untried arms count.
    """
    arms = _same_arms(runs)
    pulls, total = np.zeros((2, runs.public.n_arms, len(runs)))  # arms first: the best of a few is found by columns
    mean, greedy = np.full(pulls.shape, -np.inf), np.zeros(len(runs))
    for t, (arm, reward) in enumerate(zip(arms.T, runs.rewards.T, strict=True)):
        rows = np.flatnonzero(arm >= 0)
        at = arm[rows], rows
        seen = mean if runs.legal is None else np.where(runs.legal[:, t].T, mean, -np.inf)
        greedy[rows] += (pulls[at] == 0) | (mean[at] >= seen.max(axis=0)[rows])
        pulls[at], total[at] = pulls[at] + 1, total[at] + reward[rows]
        mean[at] = total[at] / pulls[at]
    return _per(greedy, _steps(runs))


def switch_rate(runs: Episodes) -> Floats:
    """float[B] in [0, 1]: share of the steps after the first that chose another arm than the step before.

    Forfeited steps, and those after them, count as no switch. NaN for episodes of one step.
    """
    arms = _arms(runs)
    both = (arms[:, 1:] >= 0) & (arms[:, :-1] >= 0)
    switched = (both & (arms[:, 1:] != arms[:, :-1])).sum(axis=1)
    later = runs.lengths - 1
    return np.where(later > 0, switched / np.maximum(later, 1), np.nan)


def coverage(runs: Episodes) -> Floats:
    """float[B, T] in [0, 1]: share of the episode's arms that were pulled by step t (Schmied et al. 2025)."""
    arms = _same_arms(runs)
    tried = np.zeros(arms.shape)
    for arm in range(runs.public.n_arms):
        tried += np.logical_or.accumulate(arms == arm, axis=1)
    covered: Floats = tried / _there(runs).sum(axis=1, keepdims=True)
    return covered


def optimal_fraction(runs: Episodes) -> Floats:
    """float[B, T] in [0, 1]: share of the steps up to t that pulled a best arm; forfeited steps did not."""
    steps = np.minimum(np.arange(1, runs.horizon + 1), _steps(runs)[:, None])
    return np.cumsum(_best_pulls(runs), axis=1) / steps


def best_at_end(runs: Episodes) -> Bools:
    """bool[B]: the last step pulled a best arm; its mean estimates the probability of the best arm at T."""
    return _best_pulls(runs)[np.arange(len(runs)), runs.lengths - 1]


def invalid_rate(runs: Episodes) -> Floats:
    """float[B] in [0, 1]: share of steps at which at least one answer could not be read."""
    return _per((_need(runs, "failed") > 0).sum(axis=1), _steps(runs))


def label_mass(runs: Episodes) -> Floats:
    """float[B, T] in [0, 1]: probability of the labels before all else was masked; NaN past the end.

    Of a duel, the mean over its two answers.
    """
    mass = _need(runs, "mass")
    return mass if mass.ndim == 2 else np.asarray(mass.mean(axis=2))


def action_entropy(runs: Episodes) -> Floats:
    """float[B, T] in nats, at most ln K: entropy of the policy after temperature; NaN past the end."""
    _arms(runs)
    probs = _need(runs, "probs")
    return np.stack([entr(probs[:, t]).sum(axis=-1) for t in range(runs.horizon)], axis=1)


def first_pull_bias(runs: Episodes) -> float:
    """In [0, 1 - 1/K]: total variation between the positions of the first pulls and uniform choices of present arms.

    Chance alone gives about sqrt((K - 1) / (2 pi B)). NaN if nothing was pulled.
    """
    arms, n_arms, there = _arms(runs), runs.public.n_arms, _there(runs)
    first = arms[np.arange(len(runs)), (arms >= 0).argmax(axis=1)]
    pulled = first >= 0
    share = np.bincount(first[pulled], minlength=n_arms) / (pulled.sum() or np.nan)
    fair = (there / there.sum(axis=1, keepdims=True))[pulled].sum(axis=0) / (pulled.sum() or np.nan)
    return float(np.abs(share - fair).sum() / 2)


def _need(runs: Episodes, column: str) -> NDArray[Any]:
    values: NDArray[Any] | None = runs.columns().get(column)
    if values is None:
        raise MissingColumn(f"{column}: this measure needs the column {column!r}, which the run does not have")
    return values


def _arms(runs: Episodes) -> Ints:
    if runs.arms.ndim != 2:
        raise MissingColumn(f"arms: this measure needs one arm per step, this task chooses {runs.public.slots} at once")
    return runs.arms


def _same_arms(runs: Episodes) -> Ints:
    if runs.public.trials > 1:
        raise MissingColumn(
            f"trial: this measure counts pulls of an arm, but each of the {runs.public.trials} games has other arms"
        )
    return _arms(runs)


def _there(runs: Episodes) -> Bools:
    """bool[B, K] arms that an episode has, at some step at least."""
    if runs.means is not None:
        return np.asarray(~np.isnan(runs.means))
    if runs.legal is not None:
        return np.asarray(runs.legal.any(axis=1))
    return np.ones((len(runs), runs.public.n_arms), np.bool_)


def _step(runs: Episodes, t: int) -> int:
    if not 1 <= t <= runs.horizon:
        raise ValueError(f"t: must lie in 1, ..., T = {runs.horizon}, got {t}")
    return t


def _steps(runs: Episodes) -> Ints:
    """int[B] steps played, at least 1 so that one may divide by it."""
    return np.where(runs.lengths < 1, 1, runs.lengths)


def _per(total: NDArray[Any], steps: Ints) -> Floats:
    mean: Floats = total / steps
    return mean


def _best_pulls(runs: Episodes) -> Bools:
    """bool[B, T]; the gap is 0 at every best arm, also where it moves or depends on a context."""
    _arms(runs)
    if np.isnan(runs.gap[played(runs) & ~forfeited(runs)]).any():
        raise MissingColumn("gap: this measure needs to know the best arm, the task does not tell")
    best: Bools = runs.gap == 0
    return best


def _received(runs: Episodes) -> Floats:
    """float[B, T] rewards; the worst arm's mean (0 without means) where the step was forfeited, 0 past the end."""
    worst = np.zeros(len(runs)) if runs.means is None else np.nanmin(runs.means, axis=1)
    return np.where(played(runs), np.where(forfeited(runs), worst[:, None], runs.rewards), 0.0)
