"""One training, and what its student does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from distilled.plans import BETWEEN, DAGGER, EASY, OFFLINE, UCB, plan

import icrl
from icrl import metrics
from icrl.agents import LLMAgent
from icrl.experiments.distill_data import DATA
from icrl.experiments.distill_eval import evaluate, students
from icrl.experiments.distill_measures import BATCH, MEASURES
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.distill_splits import LONGER, Split, splits
from icrl.experiments.distill_watch import silently
from icrl.experiments.distilling import Distilled, as_plan
from icrl.experiments.paired import paired_difference
from icrl.finetune import data as store
from icrl.finetune.adapters import merge
from icrl.models.load import load_base

RUNS = Path(__file__).resolve().parents[2] / "runs" / "distilled"
SPLITS = ("in distribution", "new labels", "new scenario", "larger K", "smaller gap", f"horizon x{LONGER}")
TOOK = "minutes.txt"
PAIRS = 128
"""Episodes of three times the horizon that two students play."""


def student(name: str, seed: int, decisions: int, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Trains one and judges it, beside its teacher, or a control beside UCB."""
    given, done = trained(name, seed, decisions)
    return _judged(done, given.model_copy(update={"teacher": UCB}) if name.startswith("control") else given, wanted)


def contexts(name: str, seed: int, decisions: int, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Goes on from a training on short games, whose adapter is merged, and judges what comes of it."""
    _, first = trained(EASY, seed, decisions)
    if not Path(BETWEEN).is_dir():
        merge(load_base("pocket"), str(first.trained.folder), Path(BETWEEN))  # type: ignore[arg-type]
    return student(name, seed, decisions, wanted)


def example(path: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Trains by an example's file, and judges it."""
    given, out = DistillPlan.load(path), RUNS / "example"
    return _judged(timed(lambda: icrl.distill(given, out, silently), out), given, wanted)


def _judged(done: Distilled, beside: DistillPlan, wanted: tuple[str, ...]) -> dict[str, Any]:
    own = {"student": students(done.plan, done.folder)["student"]}
    found = evaluate(beside, own, silently, wanted)
    return {
        "minutes": minutes(done.folder),
        "audit": store.read(done.folder / DATA)[2]["audit"],
        "best": done.trained.best.numbers,
        "looks": [look.numbers for look in done.trained.looks],
        "agreement of loss and regret": done.trained.rank_correlation,
        "splits": {split: asdict(sides["student"]) for split, sides in found.items()},
    }


def base(wanted: tuple[str, ...]) -> dict[str, Any]:
    """What pocket does as it is, beside UCB."""
    given = as_plan(plan("UCB", 0))
    found = evaluate(given, {"student": icrl.load_model("pocket")}, silently, wanted)  # type: ignore[dict-item]
    return {"splits": {split: asdict(sides["student"]) for split, sides in found.items()}}


def on_policy(decisions: int) -> dict[str, Any]:
    """A round of DAgger beside as many rows of the teacher's own games: three times the horizon, on the same luck."""
    runs = {}
    for name in (OFFLINE, DAGGER):
        given, done = trained(name, 0, decisions)
        split = named(given, f"horizon x{LONGER}")
        player = LLMAgent(students(given, done.folder)["student"], split.prompt)
        runs[name] = icrl.rollout(player, split.task, episodes=PAIRS, seed=given.evaluate.seed, batch=BATCH)
        runs["teacher"] = icrl.rollout(given.teaches(), split.task, episodes=PAIRS, seed=given.evaluate.seed)
    found: dict[str, Any] = {}
    for name, measure in MEASURES.items():
        apart = paired_difference(runs[DAGGER], runs[OFFLINE], measure)
        found[name] = {who: float(np.mean(measure(played))) for who, played in runs.items()}
        found[name]["DAgger - offline"] = (apart.diff, apart.low, apart.high)
    homes = {OFFLINE: ("",), DAGGER: ("", "round-1")}
    learnt = {
        name: sum(store.read(folder(name, 0, decisions) / r / DATA)[2]["written"]["train"]["decisions"] for r in rounds)
        for name, rounds in homes.items()
    }
    return {"decisions": learnt, "measures": found}


def reinforced(path: str) -> dict[str, Any]:
    """GRPO from the base, by an example: reward beside the base's, on the same luck, with new labels."""
    given, out = DistillPlan.load(path), RUNS / "reinforced"
    done = timed(lambda: icrl.reinforce(given, out, silently), out)
    split = named(given, "new labels")
    how: dict[str, Any] = {"episodes": 1000, "seed": 1000, "batch": BATCH}
    models = students(given, done.folder, str(done.trained.folder))
    runs = {name: icrl.rollout(LLMAgent(model, split.prompt), split.task, **how) for name, model in models.items()}
    found = {}
    for name, measure in (("reward", _rewards), ("regret", metrics.final_regret)):
        apart = paired_difference(runs["student"], runs["base"], measure)
        found[name] = {who: float(measure(played).mean()) for who, played in runs.items()}
        found[name]["student - base"] = (apart.diff, apart.low, apart.high)
    mass = {who: float(np.nanmean(played.mass)) for who, played in runs.items() if played.mass is not None}
    looks = [look.numbers for look in done.trained.looks]
    return {"minutes": minutes(out), "looks": looks, "measures": found, "mass": mass}


def _rewards(runs: icrl.Episodes) -> Any:
    return np.nansum(runs.rewards, axis=1)


def timed(work: Callable[[], Distilled], out: Path) -> Distilled:
    """Does it, and writes down how long it took, if nothing of it was there before."""
    new, start = not out.exists(), time.perf_counter()
    done = work()
    if new:
        (out / TOOK).write_text(str((time.perf_counter() - start) / 60))
    return done


def minutes(out: Path) -> float | None:
    """That a training took with its rows; None if it was interrupted."""
    return float((out / TOOK).read_text()) if (out / TOOK).is_file() else None


def named(given: DistillPlan, name: str) -> Split:
    """One of a plan's splits."""
    return next(split for split in splits(given) if split.name == name)


def trained(name: str, seed: int, decisions: int) -> tuple[DistillPlan, Distilled]:
    """A plan, and what came of it; what is there already is not done again."""
    given, out = as_plan(plan(name, seed, decisions)), folder(name, seed, decisions)
    return given, timed(lambda: icrl.distill(given, out, silently), out)


def folder(name: str, seed: int, decisions: int) -> Path:
    """Where its rows and its adapter lie."""
    safe = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    return RUNS / f"{safe}-{seed}-{decisions}"
