"""What steering does to pocket. Run: `python benchmarks/steering.py` (one to two hours on 2 cores).

EAST, its relatives and its controls: how far they move the entropy of the policy, whether play gets better at equal
entropy, and whether the entropy rises where little is known. Labels are held out; vectors are fitted, strengths found
and play measured on different luck. Parts are measured side by side, in one thread each. Writes
`results/steering.json` part by part (the same command again does what is missing) and `docs/steering_figures.md`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from card.common import machine
from card.parts import begun, save, side_by_side
from steered import grid, matched
from steered.common import EASY, FITS, HARD, LATER, PLAY, llm, plays, vectors
from steered.matched import EXPLORERS
from steered.page import page

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "steering.json"
PAGE = ROOT / "docs" / "steering_figures.md"
FULL, LONG, TASKS = 500, 300, (HARD, EASY)


BOTH = ("hints, UCB", "EAST", "EAST, run and step", "EAST without time", "mean difference")
BOTH += ("random 0", "temperature", "epsilon")
PLAYERS = {
    HARD: (*BOTH, "EAST, minus", "EAST, fading", "EAST, unsure", "in-context", "advice pairs", "permuted 0"),
    EASY: BOTH,
}


def main(episodes: Annotated[int, typer.Option(help="Of each player; with fewer nothing is kept.")] = FULL) -> None:
    """Measure, print, and write the page."""
    head = {"model": llm().facts, "machine": machine(), "episodes": episodes}
    study = Study(begun(RESULTS, head) if episodes >= FULL else head, episodes >= FULL)
    for name in FITS:
        vectors(name)  # one process fits them, all others read them
    plays.cache_clear()
    study.fill({"layers": (grid.layers,)})
    layer = study.found["layer"] = grid.best(study.found["layers"])
    able = {task: [n for n in PLAYERS[task] if n in EXPLORERS] for task in TASKS}
    able[HARD] = list(EXPLORERS)
    strengths = {f"strength, {task}, {n}": (matched.calibrated, n, task, layer) for task in TASKS for n in able[task]}
    base = {f"play, {task}, unsteered": (matched.unsteered, task, 100, episodes, PLAY) for task in TASKS}
    study.fill(base | strengths | {"relatives": (grid.relatives, layer), "thoughts": (grid.thoughts, layer)})

    def strength(name: str, task: str) -> float:
        own, east = (study.found.get(f"strength, {task}, {n}") for n in (name, "EAST"))
        return float(own["strength"] if own and own["reached"] else east["strength"])

    def play(name: str, task: str, horizon: int, n: int, seed: int) -> tuple[Any, ...]:
        return matched.compared, name, task, horizon, n, seed, layer, strength(name, task)

    known = {n: strength(n, HARD) for n in able[HARD]}
    asked = {"selective": (matched.selective, HARD, known, layer, 60)}
    study.fill(
        {f"play, {task}, {n}": play(n, task, 100, episodes, PLAY) for task in TASKS for n in PLAYERS[task]} | asked
    )
    three = sorted(PLAYERS[HARD], key=lambda n: study.found[f"play, {HARD}, {n}"]["regret"])[:3]
    fewer = episodes * 3 // 10
    study.fill({"long, unsteered": (matched.unsteered, HARD, LONG, fewer, LATER)})
    study.fill({f"long, {n}": play(n, HARD, LONG, fewer, LATER) for n in three})
    if study.writes:
        PAGE.write_text(page(study.found), encoding="utf-8")


@dataclass(frozen=True)
class Study:
    """What has been measured so far."""

    found: dict[str, Any]
    writes: bool

    def fill(self, parts: dict[str, tuple[Any, ...]]) -> None:
        """Measures what is missing."""
        missing = {name: (work, given) for name, (work, *given) in parts.items() if name not in self.found}
        for name, measured in side_by_side(missing):
            self.found[name] = measured
            print(json.dumps({name: measured}), flush=True)
            if self.writes:
                save(RESULTS, self.found)


if __name__ == "__main__":
    typer.run(main)
