"""One training, and what its student does."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distilled.plans import UCB, plan

import icrl
from icrl.experiments.distill_eval import evaluate, students
from icrl.experiments.distilling import as_plan

RUNS = Path(__file__).resolve().parents[2] / "runs" / "distilled"
SPLITS = ("in distribution", "new labels", "new scenario", "larger K", "smaller gap", "horizon x3")


def nothing(title: str, steps: int) -> Any:
    """Watches nothing."""
    return lambda name, done, tokens: None


def student(name: str, seed: int, decisions: int, splits: tuple[str, ...]) -> dict[str, Any]:
    """Trains one and judges it, beside its teacher, or a control beside UCB."""
    start = time.perf_counter()
    given = as_plan(plan(name, seed, decisions))
    done = icrl.distill(given, folder(name, seed, decisions), nothing)
    took = time.perf_counter() - start
    own = {"student": students(given, done.folder)["student"]}
    beside = given.model_copy(update={"teacher": UCB}) if name.startswith("control") else given
    found = evaluate(beside, own, nothing, splits)
    looks = [asdict(look) for look in done.trained.looks]
    return {
        "minutes": took / 60,
        "best": asdict(done.trained.best),
        "looks": looks,
        "agreement of loss and regret": done.trained.agreement,
        "splits": {split: asdict(sides["student"]) for split, sides in found.items()},
    }


def base(splits: tuple[str, ...]) -> dict[str, Any]:
    """What pocket does as it is, beside UCB."""
    given = as_plan(plan("UCB", 0))
    found = evaluate(given, {"student": icrl.load_model("pocket")}, nothing, splits)  # type: ignore[dict-item]
    return {"splits": {split: asdict(sides["student"]) for split, sides in found.items()}}


def folder(name: str, seed: int, decisions: int) -> Path:
    """Where its rows and its adapter lie."""
    safe = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    return RUNS / f"{safe}-{seed}-{decisions}"
