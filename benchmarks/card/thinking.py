"""Gate 8: whether the numbers that pocket writes are right, and whether it does what it says."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import icrl
from card.common import RAW, played
from icrl.envs import Episodes

LINE = re.compile(r"Mean reward (-?\d+(?:\.\d+)?)(?:, index -?[\d.]+)?, (\d+) \w+ \((\w+)\)")
BEST = re.compile(r"Best so far: (\w+)\.")


def thinking(model: Any, episodes: int) -> dict[str, float]:
    """Rates over all decisions but the first of each episode, of which there is nothing to tell.

    "count", "mean": numbers that are right, of those that were written about an arm that is there; a mean within 0.005,
    as it has two digits. "named": arms that were pulled and have a line. "knows": it calls an arm best that has the
    highest mean. "does": it pulls the arm that it calls best. "greedy": it pulls one with the highest mean. The gap of
    knowing and doing (Schmied et al. 2025, arXiv 2504.16078) is "knows" less how often it also pulls that arm.
    """
    task = icrl.make("bernoulli-hard", horizon=30)
    runs = played(icrl.LLMAgent(model, replace(RAW, answer="thought")), task, episodes)
    told: Counter[str] = Counter()
    for b in range(len(runs)):
        for t in range(1, runs.horizon):
            told.update(_decision(runs, b, t))
    parts = {"count": "lines", "mean": "lines", "named": "pulled"}
    return {name: told[name] / max(told[parts.get(name, "decisions")], 1) for name in (*parts, *SAID)} | {
        "decisions": float(told["decisions"]),
        "cut": float((runs.cut > 0).mean()) if runs.cut is not None else 0.0,
    }


SAID = ("says", "knows", "does", "knows and does", "greedy")


def _decision(runs: Episodes, b: int, t: int) -> Counter[str]:
    """What one thought and the pull after it add up to."""
    assert runs.names is not None and runs.thought is not None
    names, thought = runs.names[b], str(runs.thought[b, t])
    paid = {k: runs.rewards[b, :t][runs.arms[b, :t] == k] for k in range(len(names))}
    means = {names[k]: float(x.mean()) for k, x in paid.items() if len(x)}
    lines = [(float(m), int(n), name) for m, n, name in LINE.findall(thought) if name in names]
    best, says = [name for name in means if means[name] == max(means.values())], BEST.findall(thought)
    knows, does = bool(says) and says[-1] in best, bool(says) and says[-1] == runs.text[b, t]  # type: ignore[index]
    return Counter(
        {
            "decisions": 1,
            "lines": len(lines),
            "count": sum(len(paid[names.index(name)]) == n for _, n, name in lines),
            "mean": sum(name in means and abs(means[name] - m) <= 0.0051 for m, _, name in lines),
            "pulled": len(means),
            "named": len(set(means) & {name for *_, name in lines}),
            "says": bool(says),
            "knows": knows,
            "does": does,
            "knows and does": knows and does,
            "greedy": names[runs.arms[b, t]] in best,
        }
    )
