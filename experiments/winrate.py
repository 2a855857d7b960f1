"""Pairwise win-rates over tasks (Nie et al. 2024, EVOLvE, arXiv 2410.06238)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind_from_stats

from icrl.envs.episodes import Episodes
from icrl.envs.types import Floats
from icrl.experiments.bootstrap import check_level
from icrl.experiments.measures import average_reward
from icrl.experiments.paired import constant, mean_test, same_luck


def win_rates(
    tasks: Mapping[str, Mapping[str, Episodes]], *, paired: bool = False, level: float = 0.95
) -> pd.DataFrame:
    """The share of comparisons that each agent wins, over opponents and tasks.

    A beats B on a task if its mean final cumulative reward is higher and a t-test rejects equality, two-sided, at
    1 - level. By default Student's two-sample test with equal variances, on the trials of both: a published table can
    be compared with it. On common luck that test is conservative; the paired one finds more. A forfeited step counts as
    in `average_reward`.

    Args:
        tasks: By name of the task, the episodes by name of the agent: the same agents everywhere, and within a task
            all of that task (and, where `paired`, on the same luck).
        paired: Whether to test the paired differences instead.
        level: Below 1.

    Returns:
        One row per agent: `win_rate`, and `vs NAME`, the share of tasks on which it beats that agent, NaN against
        itself. A share with a comparison that cannot be made (one episode, an unknown reward) is NaN.

    Raises:
        ValueError: Agents or tasks do not fit each other, or an argument is out of range.
    """
    check_level(level)
    agents = _agents(tasks)
    wins = np.mean([_wins([runs[a] for a in agents], paired, 1 - level) for runs in tasks.values()], axis=0)
    rate = wins.sum(axis=1) / (len(agents) - 1)
    np.fill_diagonal(wins, np.nan)
    table = pd.DataFrame(wins, index=agents, columns=[f"vs {name}" for name in agents])
    table.insert(0, "win_rate", rate)
    return table.rename_axis("agent")


def final_reward(runs: Episodes) -> Floats:
    """float[B], in units of reward: the sum over the steps played, forfeited steps as in `average_reward`."""
    return average_reward(runs) * runs.lengths


def _agents(tasks: Mapping[str, Mapping[str, Episodes]]) -> list[str]:
    """The names of the agents, after a check that each task has them, and is one task."""
    if not tasks:
        raise ValueError("tasks: at least one task is needed, got none")
    agents = list(next(iter(tasks.values())))
    if len(agents) < 2:
        raise ValueError(f"tasks: at least two agents are needed, got {agents}")
    for name, runs in tasks.items():
        if set(runs) != set(agents):
            raise ValueError(f"tasks: each must have the agents {sorted(agents)}, but {name!r} has {sorted(runs)}")
        if len({run.task for run in runs.values()}) > 1:
            raise ValueError(f"tasks: the runs under {name!r} must all be of one task, got several")
    return agents


def _wins(runs: list[Episodes], paired: bool, alpha: float) -> Floats:
    """float[A, A]: 1 where the row beats the column, 0 on the diagonal, NaN where nobody knows."""
    if paired:
        same_luck({f"agent {i}": run for i, run in enumerate(runs)}, "agent 0")
    rewards, wins = [final_reward(run) for run in runs], np.zeros((len(runs), len(runs)))
    for i, ours in enumerate(rewards):
        for j, theirs in enumerate(rewards[:i]):
            p = mean_test(ours - theirs) if paired else _p_student(ours, theirs)
            wins[i, j] = np.nan if np.isnan(p) else p < alpha and ours.mean() > theirs.mean()
            wins[j, i] = np.nan if np.isnan(p) else p < alpha and ours.mean() < theirs.mean()
    return wins


def _p_student(ours: Floats, theirs: Floats) -> float:
    """Student's two-sample test; without any spread, every difference counts."""
    if min(len(ours), len(theirs)) < 2 or np.isnan(ours).any() or np.isnan(theirs).any():
        return np.nan
    if constant(ours) and constant(theirs):
        return float(constant(np.append(ours, theirs)))
    stats = [(x.mean(), x.std(ddof=1), len(x)) for x in (ours, theirs)]
    return float(ttest_ind_from_stats(*stats[0], *stats[1]).pvalue)
