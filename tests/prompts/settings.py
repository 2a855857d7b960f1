"""Every pair of settings of a prompt, in few rows: the table of the golden prompts.

`python tests/prompts/settings.py` looks for such a table, as long as it needs to be; a new setting makes it longer.
"""

from __future__ import annotations

import itertools
import random
from functools import cache
from typing import Any

from icrl.agents import RUCB, UCB, LinUCB, Restarting, rollout
from icrl.envs import Bandit, BradleyTerry, Dueling, Fixed, Gaussian, Linear, NormalMeans
from icrl.envs import Trials as Games
from icrl.prompts import Demonstrations, Hints, Positive, Prompt, Raw, Stochastic, Summary, Window
from icrl.prompts.history import Trials

MEANS = Fixed(values=(0.9, 0.5, 0.1))
COINS = Bandit(n_arms=3, horizon=4, means=MEANS)
TASKS = {
    "coins": COINS,
    "numbers": Bandit(n_arms=3, horizon=4, means=MEANS, noise=Gaussian()),
    "contexts": Linear(n_arms=3, horizon=4, dim=2),
    "duel": Dueling(n_arms=3, horizon=4, preferences=BradleyTerry(strengths=NormalMeans())),
    "games": Games(task=COINS.model_copy(update={"horizon": 2}), games=2),
}
ADVISERS = {"contexts": LinUCB(), "duel": RUCB(), "games": Restarting(UCB())}
HISTORIES = {
    "raw": Raw,
    "summary": Summary,
    "full-summary": lambda **told: Summary(spread=True, last=2, **told),
    "window": lambda **told: Window(first=1, last=1, **told),
    "positive": Positive,
    "stochastic": lambda **told: Stochastic(keep=0.5, **told),
    "trials": lambda **told: Trials(past=1, **told),
}
REWARDS: dict[str, dict[str, Any]] = {"plain": {}, "words": {"rewards": "words"}, "rounded": {"decimals": 1}}
HINTS = {
    "none": None,
    "numbers": {},
    "arm": {"show": ("arm",)},
    "ranking": {"show": ("ranking",)},
    "permuted": {"show": ("numbers", "arm"), "control": "permuted"},
    "random": {"control": "random"},
}
AXES: dict[str, tuple[str, ...]] = {
    "task": tuple(TASKS),
    "history": tuple(HISTORIES),
    "scenario": ("buttons", "slots", "clothes", "ads"),
    "layout": ("turns", "log"),
    "answer": ("direct", "thought", "free", "distribution", "thought-distribution"),
    "thoughts": ("dropped", "kept"),
    "rewards": tuple(REWARDS),
    "hints": tuple(HINTS),
    "games": ("none", "one", "two"),
    "instructions": ("bare", "advice"),
    "horizon": ("hidden", "told"),
    "system": ("", "said"),
    "budget": ("", "tight"),
}
Row = tuple[str, ...]


@cache
def games(task: str) -> Any:
    """A teacher's games."""
    return rollout(ADVISERS.get(task, UCB(c=1.0)), TASKS[task], episodes=3, seed=9)


def prompt(row: Row, labels: tuple[str, ...], budget: int | None = None) -> Prompt:
    """A row's prompt.

    Raises:
        ValueError: Its settings do not fit together.
    """
    of = dict(zip(AXES, row, strict=True))
    advised = ADVISERS.get(of["task"], UCB(c=1.0))
    hints = HINTS[of["hints"]]
    found = Prompt(
        HISTORIES[of["history"]](**REWARDS[of["rewards"]]),
        of["scenario"],
        of["layout"],
        of["answer"],
        labels=labels,
        thoughts=of["thoughts"],
        hints=None if hints is None else Hints(advised, **hints),
        demonstrations=None if of["games"] == "none" else Demonstrations(games(of["task"]), 1 + (of["games"] == "two")),
        instructions=of["instructions"],
        horizon=of["horizon"],
        system="You are careful." if of["system"] else "",
        max_thought=16,
        budget=budget,
    )
    found.check(TASKS[of["task"]].public)
    return found


def fits(row: Row) -> bool:
    """Whether settings go together."""
    try:
        prompt(row, ("cap", "tie", "elm"))
    except ValueError:
        return False
    return True


def pairs(row: Row) -> set[tuple[int, str, int, str]]:
    """The pairs of settings in a row."""
    return {(i, row[i], j, row[j]) for i, j in itertools.combinations(range(len(row)), 2)}


def completed(pair: tuple[int, str, int, str], wanted: set[Any], rng: random.Random, tries: int = 200) -> Row | None:
    """Of some drawn rows with this pair, that which has most of the wanted pairs; None if none fits."""
    values = list(AXES.values())
    drawn = []
    for _ in range(tries):
        row = [rng.choice(v) for v in values]
        row[pair[0]], row[pair[2]] = pair[1], pair[3]
        drawn.append(tuple(row))
    good = [row for row in drawn if fits(row)]
    return max(good, key=lambda row: len(pairs(row) & wanted), default=None)


def possible(rng: random.Random) -> set[tuple[int, str, int, str]]:
    """All pairs that some row has."""
    found: set[Any] = set()
    for (i, a), (j, b) in itertools.combinations(enumerate(AXES.values()), 2):
        for pair in ((i, x, j, y) for x in a for y in b):
            if pair not in found and (row := completed(pair, set(), rng, 400)):
                found |= pairs(row)
    return found


def search(rng: random.Random) -> list[Row]:
    """Rows that have every pair, each chosen to have as many new ones as can be found."""
    left, rows = possible(rng), list[Row]()
    while left:
        seeds = rng.sample(sorted(left), min(12, len(left)))
        best = max((row for s in seeds if (row := completed(s, left, rng))), key=lambda row: len(pairs(row) & left))
        rows.append(best)
        left -= pairs(best)
    return rows


if __name__ == "__main__":
    for found in sorted(min((search(random.Random(seed)) for seed in range(3)), key=len), key=str):
        print(f'    "{" ".join(x or "-" for x in found)}",')
