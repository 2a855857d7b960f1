"""Every algorithm on every kind of task, beside published or analytic values: writes docs/conformance.md.

    python benchmarks/conformance.py

Nothing here is timed. Published values come with the standard error that was stated for them, or that our own spread
gives for their number of episodes; a row agrees if the two lie within four standard errors of each other, or inside
the interval that theory gives. The rows come from checks in `conformance_checks.py`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import conformance_checks as checks
import numpy as np
import pandas as pd
from rich.progress import track

from icrl import metrics
from icrl.agents import ALGORITHMS, UCB, Greedy, Restarting, ThompsonSampling, rollout
from icrl.agents.base import AnyAgent
from icrl.envs import Bandit, Task, UniformMeans, make

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT / "docs" / "conformance.md", ROOT / "benchmarks" / "results" / "conformance.json"
LONGEST = 200
TWO = Bandit(n_arms=2, horizon=100, means=UniformMeans())
FAMILIES = {
    "Stationary": ("two-arms", "bernoulli-hard", "dpt-bernoulli", "dpt-gaussian", "easy-or-hard"),
    "Changing means, changing arms": ("switching", "drifting", "sleeping", "headless"),
    "Contexts": ("contexts", "linear", "dpt-linear", "lin-bai-mei", "movielens-k10"),
    "Other aims": ("best-arm", "dueling", "dueling-cycle"),
    "Several games": ("trials",),
}
PAIRS = {
    "UCB(c=1) and Thompson sampling": (UCB(c=1.0), ThompsonSampling()),
    "UCB(alpha=2) and UCB(alpha=0.5)": (UCB(), UCB(alpha=0.5)),
    "Greedy and Thompson sampling": (Greedy(), ThompsonSampling()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=1024, help="episodes of each cell of the large tables")
    options = parser.parse_args()
    found = [check for part in track(checks.PARTS, "published values") for check in part()]
    tables = {family: table(names, options.episodes) for family, names in FAMILIES.items()}
    pairs = pd.DataFrame([pairing(name, *pair) for name, pair in PAIRS.items()])
    RESULTS.write_text(json.dumps({"checks": [asdict(check) for check in found], "tables": tables}, indent=1) + "\n")
    PAGE.write_text(page(found, tables, pairs, options.episodes), encoding="utf-8")
    print(f"{sum(check.agrees for check in found)} of {len(found)} checks agree; see {PAGE.relative_to(ROOT)}")


def task_of(name: str) -> Task:
    """A preset, cut to a length that all algorithms manage."""
    if name == "two-arms":
        return TWO
    task = make(name)
    cut = name not in ("easy-or-hard", "best-arm") and (task.public.horizon or 0) > LONGEST
    return make(name, horizon=LONGEST) if cut else task


def player_of(algorithm: str, name: str) -> AnyAgent:
    """An algorithm; where an episode has several games, one that begins anew in each."""
    player = ALGORITHMS[algorithm]()
    return Restarting(player) if task_of(name).public.trials > 1 else player


def can_play(algorithm: str, name: str) -> bool:
    """Whether the player takes the task."""
    try:
        player_of(algorithm, name).check(task_of(name).public)
    except ValueError:
        return False
    return True


def table(names: tuple[str, ...], episodes: int) -> dict[str, dict[str, str]]:
    """Final regret and its standard error, by algorithm and task; only algorithms that can play."""
    rows: dict[str, dict[str, str]] = {}
    cells = [(a, n) for a in ALGORITHMS for n in names if can_play(a, n)]
    for algorithm, name in track(cells, ", ".join(names)):
        count = 256 if algorithm == "MostLikelyBest" else episodes
        regret = metrics.final_regret(rollout(player_of(algorithm, name), task_of(name), episodes=count))
        digits = 4 if name == "best-arm" else 2
        text = f"{regret.mean():.{digits}f} ± {regret.std(ddof=1) / np.sqrt(count):.{digits}f}"
        rows.setdefault(algorithm, {})[name] = text
    return rows


def pairing(name: str, first: AnyAgent, second: AnyAgent) -> dict[str, str | float]:
    """Variance of a regret difference over episodes, on common luck and on independent luck."""
    task, n = make("bernoulli-hard"), 4096
    ours, theirs, other = (rollout(a, task, episodes=n, seed=s) for a, s in ((first, 0), (second, 0), (second, 1)))
    final = metrics.final_regret
    paired, alone = np.var(final(ours) - final(theirs)), np.var(final(ours) - final(other))
    return {"pair": name, "paired": paired, "independent": alone, "ratio": paired / alone}


def page(
    found: list[checks.Check], tables: dict[str, dict[str, dict[str, str]]], pairs: pd.DataFrame, episodes: int
) -> str:
    """The page, in Markdown."""
    text = ["# Conformance", "", INTRODUCTION, "", "## Against published and analytic values", ""]
    text += ["| source | what | N | ours | theirs | agrees |", "|---|---|---|---|---|---|"]
    text += [
        f"| {c.source} | {c.what} | {c.n:,} | {c.ours} | {c.theirs} | {'yes' if c.agrees else 'NO'} |" for c in found
    ]
    text += [
        "",
        REMARKS,
        "",
        "## Every algorithm on every task that it can play",
        "",
        TABLES.format(n=episodes, t=LONGEST),
        "",
    ]
    for family, rows in tables.items():
        names = FAMILIES[family]
        heads = [f"{n}, T = {task_of(n).public.horizon}" for n in names]
        text += [f"### {family}", "", "| | " + " | ".join(heads) + " |", "|---" * (1 + len(names)) + "|"]
        text += [f"| {a} | " + " | ".join(row.get(n, "") for n in names) + " |" for a, row in rows.items()] + [""]
    text += ["## Pairing pays", "", PAIRING, "", "| agents | paired | independent | ratio |", "|---|---|---|---|"]
    text += [f"| {r.pair} | {r.paired:.1f} | {r.independent:.1f} | {r.ratio:.2f} |" for r in pairs.itertuples()]
    return "\n".join(text) + "\n"


INTRODUCTION = """This page is written by `python benchmarks/conformance.py`, which also writes
`benchmarks/results/conformance.json`. Regrets are pseudo-regrets unless said otherwise; N is the number of episodes,
± a standard error. "Theirs" is a published number, a number measured by running published code, or a bound. A row
agrees if the two lie within four standard errors of their difference, or inside the interval that is given. DPT and
the offline logs publish no errors: there the ± of "theirs" is what our own spread gives for 500 episodes."""
REMARKS = """Lai and Robbins: slopes from T = 3,000 to 30,000. KL-UCB pulls a bad arm ln T / KL times plus a term of the
order of sqrt(ln T), whose slope has not died away at these T unless the gap is large: the smaller the gap, the more
its slope exceeds the constant. The published epsilon-greedy starts from means of 0 instead of trying each arm."""
TABLES = """Final pseudo-regret, for `best-arm` the simple regret, for duels the strong regret, over {n:,} episodes (256
for `MostLikelyBest`); horizons above {t} are cut. All algorithms have their default settings, and meet the same luck.
`LCB` and `EmpiricalMean` are made for logs and stand here for completeness; algorithms that read no contexts play
contextual tasks blindly, except those that must know how widely an arm pays. Of several games each algorithm plays
one after the other with `Restarting`."""
PAIRING = """Variance over episodes of the difference of two agents' final regrets on `bernoulli-hard`, N = 4,096: on
common luck, and with luck of its own for each agent. At a ratio of 0.5, half of the episodes tell as much."""


if __name__ == "__main__":
    main()
