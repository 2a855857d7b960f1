"""Gates 6 and 7: whether pocket takes advice, and whether it imitates what it is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import icrl
from card.common import RAW, TEACHING, UCB, each, measured, played, system
from icrl import metrics, stats
from icrl.agents import Stubborn
from icrl.envs import Episodes
from icrl.prompts import Demonstrations, Hints

STICKY = Stubborn(stay=0.97)
MEASURES: dict[str, Any] = {
    "regret": metrics.final_regret,
    "suffix failure": metrics.suffix_failure,
    "K MinFrac": metrics.min_frac,
}


def hinted(model: Any, episodes: int) -> dict[str, Any]:
    """UCB's numbers beside a raw history, T = 300; and the same numbers at the wrong arms.

    Differences to the raw history, and of the true numbers to the wrong ones.
    """
    task = icrl.make("bernoulli-hard", horizon=300)
    prompts = {
        "raw": RAW,
        "hints": replace(RAW, hints=UCB),
        "hints, permuted": replace(RAW, hints=Hints(UCB, control="permuted")),
    }
    agents: dict[str, Any] = {"Uniform": icrl.Uniform(), "UCB": UCB} | {
        k: icrl.LLMAgent(model, p) for k, p in prompts.items()
    }
    return _beside(agents, task, episodes, [("hints", "raw"), ("hints, permuted", "raw"), ("hints", "hints, permuted")])


def shown(model: Any, episodes: int) -> dict[str, Any]:
    """Three whole games of a player before the question, and the name of a player's kind."""
    task = icrl.make("bernoulli-hard")
    prompts = {"raw": RAW}
    for name, player in {"UCB": UCB, "sticky": STICKY}.items():
        games = Demonstrations(icrl.rollout(player, task, episodes=64, seed=TEACHING), 3)
        prompts[f"games of {name}"] = replace(RAW, demonstrations=games)
    prompts |= {f"tag: {kind}": replace(RAW, **system(kind)) for kind in ("greedy", "optimistic", "sticky", "random")}
    agents: dict[str, Any] = {"Uniform": icrl.Uniform(), "UCB": UCB, "sticky": STICKY}
    agents |= {k: icrl.LLMAgent(model, p) for k, p in prompts.items()}
    return _beside(agents, task, episodes, [(name, "raw") for name in prompts if name != "raw"])


def _beside(agents: dict[str, Any], task: Any, episodes: int, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """The measures of each, and paired differences of some."""
    runs = {name: played(agent, task, episodes) for name, agent in each(agents.items(), "teaching")}
    return {
        "players": {name: measured(own, runs["Uniform"]) for name, own in runs.items()},
        "beside": {f"{ours} - {theirs}": _apart(runs[ours], runs[theirs]) for ours, theirs in pairs},
    }


def _apart(ours: Episodes, theirs: Episodes) -> dict[str, Any]:
    """Paired differences, and McNemar's test of the suffix failures."""
    found: dict[str, Any] = {name: vars(stats.paired_difference(ours, theirs, m)) for name, m in MEASURES.items()}
    return found | {"McNemar": stats.failure_test(ours, theirs)}
