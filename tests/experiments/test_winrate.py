"""Win-rates against scipy's tests, pair by pair."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from icrl.envs import Episodes, Public
from icrl.experiments.winrate import win_rates


def paid(task: str, totals: Any) -> Episodes:
    """Two pulls per episode that give these totals together."""
    rewards = np.repeat(np.asarray(totals, dtype=np.float64)[:, None] / 2, 2, axis=1)
    return Episodes(
        task=task,
        agent="by hand",
        seed=0,
        public=Public("bandit", 2, 2, "gaussian"),
        episode=np.arange(len(rewards)),
        arms=np.zeros(rewards.shape, np.int64),
        rewards=rewards,
        gap=1 - rewards,
        lengths=np.full(len(rewards), 2),
    )


@pytest.fixture(scope="module")
def totals() -> dict[str, dict[str, Any]]:
    """Three tasks, three agents; common luck, and agents that are a little better than each other."""
    rng, means = np.random.default_rng(0), {"a": 0.5, "b": 0.0, "c": 1.0}
    luck = rng.normal(0, 1, (3, 25))
    return {f"task {i}": {n: m + luck[i] + rng.normal(0, 0.7, 25) for n, m in means.items()} for i in range(3)}


@pytest.mark.parametrize("paired, test", [(False, ttest_ind), (True, ttest_rel)])
def test_win_rates_are_shares_of_significant_pairs(totals: Any, paired: bool, test: Any) -> None:
    table = win_rates({t: {n: paid(t, x) for n, x in xs.items()} for t, xs in totals.items()}, paired=paired)
    assert list(table.index) == ["a", "b", "c"] and list(table.columns) == ["win_rate", "vs a", "vs b", "vs c"]
    for ours in "abc":
        won = {}
        for theirs in set("abc") - {ours}:
            pairs = [(xs[ours], xs[theirs]) for xs in totals.values()]
            won[theirs] = np.mean([test(x, y).pvalue < 0.05 and x.mean() > y.mean() for x, y in pairs])
            assert table.loc[ours, f"vs {theirs}"] == pytest.approx(won[theirs])
        assert table.loc[ours, "win_rate"] == pytest.approx(np.mean(list(won.values())))
        assert np.isnan(table.loc[ours, f"vs {ours}"])
    assert table.loc["c", "win_rate"] > table.loc["a", "win_rate"] >= table.loc["b", "win_rate"] == 0


def test_common_luck_finds_more(totals: Any) -> None:
    tasks = {t: {n: paid(t, x) for n, x in xs.items()} for t, xs in totals.items()}
    assert win_rates(tasks, paired=True)["win_rate"].sum() > win_rates(tasks)["win_rate"].sum()


def test_rewards_without_spread_are_compared_as_they_are() -> None:
    for paired in (False, True):
        table = win_rates({"t": {n: paid("t", [x] * 8) for n, x in {"a": 1, "b": 1, "c": 2}.items()}}, paired=paired)
        assert table["win_rate"].tolist() == [0, 0, 1]
    mixed = {"a": paid("t", [1.0] * 8), "b": paid("t", np.arange(8.0))}
    assert win_rates({"t": mixed})["win_rate"].tolist() == [0, 1]  # no spread in one of them


def test_a_comparison_that_cannot_be_made_is_nan() -> None:
    unknown = {"a": paid("t", [1.0, 2.0, 3.0]), "b": paid("t", [9.0, 9.1, np.nan]), "c": paid("t", [9.0, 9.1, 9.2])}
    table = win_rates({"t": unknown})
    assert table["win_rate"].isna().all() and table.loc["c", "vs a"] == 1
    assert win_rates({"t": {n: paid("t", [1.0]) for n in "ab"}})["win_rate"].isna().all()


def test_a_forfeited_step_pays_the_worst_mean() -> None:
    lost = replace(paid("t", [2.0, 2.2]), arms=np.array([[0, -1], [0, -1]]), means=np.array([[1.0, -9.0]] * 2))
    lost.rewards[:, 1] = np.nan
    assert win_rates({"t": {"lost": lost, "won": paid("t", [2.0, 2.2])}})["win_rate"].tolist() == [0, 1]


def test_short_episodes_earn_less() -> None:
    full = paid("t", [2.0, 2.2])
    short = replace(full, lengths=np.ones(2, np.int64))  # as much per step, half as much in all
    assert win_rates({"t": {"short": short, "full": full}})["win_rate"].tolist() == [0, 1]


def test_bad_tasks_are_refused() -> None:
    one = paid("t", [1.0, 2.0])
    with pytest.raises(ValueError, match="tasks: at least one task"):
        win_rates({})
    with pytest.raises(ValueError, match="tasks: at least two agents"):
        win_rates({"t": {"a": one}})
    with pytest.raises(ValueError, match=r"must have the agents \['a', 'b'\], but 'u' has \['a', 'c'\]"):
        win_rates({"t": {"a": one, "b": one}, "u": {"a": one, "c": one}})
    with pytest.raises(ValueError, match="under 't' must all be of one task"):
        win_rates({"t": {"a": one, "b": paid("u", [1.0, 2.0])}})
    with pytest.raises(ValueError, match="differ in seed"):
        win_rates({"t": {"a": one, "b": replace(one, seed=1)}}, paired=True)


def test_a_large_offset_hides_nothing() -> None:
    rng = np.random.default_rng(0)
    runs = {"a": paid("t", 1e7 + rng.normal(0, 1, 30)), "b": paid("t", 1e7 + 5 + rng.normal(0, 1, 30))}
    for paired in (False, True):
        assert win_rates({"t": runs}, paired=paired).loc["b", "win_rate"] == 1
