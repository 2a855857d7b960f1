"""What writing prompts costs: the wall time of rendering and tokenising alone, beside that of a rollout of `pocket`.

    python benchmarks/rendering.py

The clock runs inside `Talk` only: the heads of the prompts, what a model is to read before each choice, and what each
step adds. Each run has an agent of its own, which has encoded nothing yet. Long episodes are played by a stand-in that
reads nothing and prefers no arm: only their rendering is of interest, and a model would take most of an hour.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from rich.progress import track

import icrl
from icrl.agents.rollout import play
from icrl.models.base import Answer, Query
from icrl.prompts.talk import Talk

OUT = Path(__file__).parent / "results" / "rendering.json"
BATCH, HORIZON, LONG, RUNS = 64, 100, 420, 5
PROMPTS = {
    "raw, turns": icrl.Prompt("raw"),
    "raw, log": icrl.Prompt("raw", layout="log"),
    "summary": icrl.Prompt("summary"),
}


class StandIn:
    """Has the tokenizer of a model, and reads nothing."""

    def __init__(self, model: Any) -> None:
        self.name, self.tokenizer, self.window, self.facts = "stand-in", model.tokenizer, 1 << 40, dict[str, str]()

    def ask(self, queries: list[Query]) -> list[Answer]:
        return [Answer((0, 0, 0), np.full(n, -np.log(n)), 1.0) for n in (len(q.choices or "-") for q in queries)]


@contextmanager
def clocked() -> Iterator[list[float]]:
    """Adds up, in the only cell of a list, the seconds spent in `Talk`."""
    inside = [0.0]

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                inside[0] += time.perf_counter() - begin

        return call

    begin = classmethod(timed(Talk.begin.__func__))  # type: ignore[attr-defined]
    with (
        patch.object(Talk, "begin", begin),
        patch.object(Talk, "asked", timed(Talk.asked)),
        patch.object(Talk, "answered", timed(Talk.answered)),
    ):
        yield inside


def steps(model: Any, prompt: icrl.Prompt, horizon: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """[T] seconds of each step of a batch: in all, and in rendering. The first holds the heads of the prompts, too."""
    agent, task = icrl.LLMAgent(model, prompt), icrl.make("bernoulli-hard", horizon=horizon)
    with clocked() as inside:
        marks = [(time.perf_counter(), 0.0)]
        marks += [(time.perf_counter(), inside[0]) for _ in play(agent, task, np.arange(BATCH), seed)]
    wall, rendering = np.diff(np.array(marks), axis=0).T
    return wall, rendering


def around(seconds: np.ndarray, t: int) -> float:
    """Median over the steps around t."""
    return float(np.median(seconds[t - 20 : t + 19]))


def measured(model: Any, prompt: icrl.Prompt, seed: int) -> dict[str, float]:
    """One run: a rollout of the model, and a long one of the stand-in; times per step of all rows, in milliseconds."""
    wall, rendering = steps(model, prompt, HORIZON, seed)
    _, long = steps(StandIn(model), prompt, LONG, seed)
    early, late = (1e3 * around(long, t) for t in (50, 400))
    return {
        "share of a rollout's wall time": rendering.sum() / wall.sum(),
        "a rollout's ms per step at t=50": 1e3 * around(rendering, 50),
        "alone, ms per step at t=50": early,
        "alone, ms per step at t=400": late,
        "alone, ratio t=400 to t=50": late / early,
    }


def main() -> None:
    """Prints medians over the runs and writes them, with their extremes, to `results/rendering.json`."""
    model = icrl.load_model("pocket")
    steps(model, PROMPTS["raw, turns"], HORIZON, seed=99)  # warm-up
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in PROMPTS}
    for seed, name in track([(seed, name) for seed in range(RUNS) for name in PROMPTS], "rendering"):
        runs[name].append(measured(model, PROMPTS[name], seed))
    found: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, no GPU",
        "torch": torch.__version__,
        "rows": BATCH,
        "steps of a rollout": HORIZON,
        "runs": RUNS,
    }
    for name, several in runs.items():
        print(name)
        found[name] = {}
        for what in several[0]:
            values = sorted(run[what] for run in several)
            found[name][what] = {"median": round(statistics.median(values), 4), "of": [round(x, 4) for x in values]}
            print(f"  {what:32} {statistics.median(values):.3f}  ({values[0]:.3f} to {values[-1]:.3f})")
    OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
