"""How `pocket` reads its prompts: order, place, name, lies, and its own writing. Writes docs/diagnostics.md.

    python benchmarks/diagnostics.py

Labels and seed are among those that its corpus excludes. Nothing here is timed; it takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

import icrl
from icrl.agents import check_policy, many_shot, name_bias, order_sensitivity
from icrl.agents.diagnose import ITEMS, RATES
from icrl.finetune.heldout import held_out

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT / "docs" / "diagnostics.md", ROOT / "benchmarks" / "results" / "diagnostics.json"
TASKS, SEED = ("bernoulli-hard", "bernoulli-easy"), 2026
EARLY, LATE, ORDERS = 8, 32, 8
SHARES = ("0", "1/64", "1/16", "1/4", "1/2", "3/4")
LABELS = held_out("buttons")
PROMPTS = {
    "raw, turns": icrl.Prompt("raw", labels=LABELS),
    "raw, log": icrl.Prompt("raw", layout="log", labels=LABELS),
    "summary": icrl.Prompt("summary", labels=LABELS),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=256, help="histories of each cell")
    options = parser.parse_args()
    model = icrl.load_model("pocket")
    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, no GPU"
    found: dict[str, Any] = {
        "model": f"pocket, weights {model.facts['revision']}",
        "machine": f"{machine}, torch {torch.__version__}",
        "episodes": options.episodes,
        "seed": SEED,
        "tasks": {task: {name: {} for name in PROMPTS} for task in TASKS},
    }
    todo = [
        (found["tasks"][task][name], *asked)
        for task in TASKS
        for name, prompt in PROMPTS.items()
        for asked in diagnoses(icrl.LLMAgent(model, prompt), icrl.make(task), options.episodes).items()
    ]
    for cell, what, diagnosis in track(todo, "diagnoses"):
        cell[what] = asdict(told) if is_dataclass(told := diagnosis()) else [asdict(one) for one in told]
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(page(found), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)} and {RESULTS.relative_to(ROOT)}")


def diagnoses(agent: icrl.LLMAgent, task: Any, episodes: int) -> dict[str, Callable[[], Any]]:
    """What is asked of one prompt on one task, in pieces of some seconds; what asks often has half the histories."""
    often, half = {"episodes": episodes, "seed": SEED}, max(1, episodes // 2)
    asked: dict[str, Callable[[], Any]] = {
        "names": partial(name_bias, agent, task, **often),
        "writing": partial(check_policy, agent, task, half, seed=SEED),
    }
    for n in (EARLY, LATE):
        asked[f"order after {n}"] = partial(
            order_sensitivity, agent, task, steps=n, permutations=ORDERS, episodes=half, seed=SEED
        )
    for share, rate in zip(SHARES, RATES, strict=True):
        asked[f"shots, {share} corrupted"] = partial(many_shot, agent, task, ITEMS, (rate,), **often)
    return asked


def page(found: dict[str, Any]) -> str:
    """The page, in Markdown."""
    text = ["# Diagnostics", "", INTRODUCTION.format(**found), ""]
    text += ["## Order, names, writing", "", READING.format(orders=ORDERS), ""]
    text += [f"| task | prompt | order, {EARLY} steps | order, {LATE} steps | other favourite | place | by chance "]
    text[-1] += "| label | by chance | scored to written | by chance | unread | mass |"
    text += ["|---" * 13 + "|"]
    text += [short(task, name, of) for task, prompts in found["tasks"].items() for name, of in prompts.items()]
    text += [
        "",
        "## Many steps, and some that lie",
        "",
        SHOTS.format(error=0.5 / found["episodes"] ** 0.5, **found),
        "",
    ]
    for task, prompts in found["tasks"].items():
        text += [f"### {task}", "", "| corrupted | reader | " + " | ".join(f"n = {n}" for n in ITEMS) + " |"]
        text += ["|---" * (2 + len(ITEMS)) + "|"]
        text += [row for share in SHARES for row in shots(share, prompts)] + [""]
    return "\n".join(text)


def short(task: str, name: str, of: dict[str, Any]) -> str:
    """A row of the first table."""
    early, late, names, writing = (of[x] for x in (f"order after {EARLY}", f"order after {LATE}", "names", "writing"))
    cells = [early["distance"], late["distance"], late["changes"]]
    cells += [names[x] for x in ("position", "position_by_chance", "label", "label_by_chance")]
    cells += [writing[x] for x in ("distance", "floor", "unread", "mass")]
    return f"| {task} | {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |"


def shots(share: str, prompts: dict[str, Any]) -> list[str]:
    """The rows of one share of corrupted rewards: the oracle, then the prompts."""
    told = {name: of[f"shots, {share} corrupted"] for name, of in prompts.items()}
    rows = {"highest mean": [f"{cell['oracle']:.2f}" for cell in next(iter(told.values()))]}
    rows |= {name: [f"{c['accuracy']:.2f} ({c['probability']:.2f})" for c in cells] for name, cells in told.items()}
    return [f"| {share} | {reader} | " + " | ".join(cells) + " |" for reader, cells in rows.items()]


INTRODUCTION = """This page is written by `python benchmarks/diagnostics.py`, which also writes
`benchmarks/results/diagnostics.json`. The model is the embedded one, in labels and on a seed that its training
excludes: {model}; {machine}.

It is a test bed: the numbers show what the diagnoses of `icrl.agents` find, and say nothing of other models. Each is a
mean over {episodes} histories of uniform play, at temperature 1; for the order over half as many, and for what is
written over half as many prompts of the model's own play."""
READING = """All distances are total variations, from 0 to 1.

- **Order** (`order_sensitivity`): between the policies after two orders of one history, over {orders} orders of each.
  "Other favourite" is the share of such pairs, at the longer length, in which another arm is the most probable one. In
  these tasks the order tells nothing, so the less the better. A summary has 0 because its prompts are the same, which
  says nothing of how well it is read.
- **Place** and **label** (`name_bias`): of the mean policy of the first step from uniform, by place in the list of
  arms and by label. "By chance" is what the same probabilities give when they are shuffled within each episode: a
  preference is what exceeds it. It does no harm if rewards overrule it; the next tables show how far they do.
- **Scored to written** (`check_policy`): between the policy and the shares of 16 written answers; equal policies would
  have what stands under "by chance". "Unread" is the share of written answers that name no arm, "mass" the probability
  of the labels before all else is masked."""
SHOTS = """`many_shot`: how often the best arm is the most probable one after n steps, and in brackets the mean
probability that the policy gives to it. Of the n rewards the stated share is flipped, rounded down: a small share of
few steps is none, and such cells repeat those above. Nobody is told. All readers see the same histories. "Highest mean"
picks the best empirical mean among the arms that were tried, from the same corrupted rewards; ties count in parts. The
standard error of a cell is at most 0.5 / sqrt(N), for {episodes} histories {error:.3f}; differences between readers of
one table are surer than that, as they share their histories.

At 1/2 the rewards tell nothing, and at 3/4 the best arm looks worst: who trusts the history should fall below 1/K
there, as the highest mean does. A model that explores gives less probability to the best arm than it could, so
accuracy is the fairer comparison with the highest mean, which does not explore."""


if __name__ == "__main__":
    main()
