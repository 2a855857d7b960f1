"""What was learnt: student, base and teacher on the same luck, in what was trained for and beyond it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from icrl.experiments.distill_data import DATA, PLAN, versions
from icrl.experiments.distill_measures import AGREEMENT, MEASURES, Side, compared
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.distill_splits import Split, splits
from icrl.experiments.distilling import TRAINING, base_model, home, student, trained_in
from icrl.experiments.planned import is_of
from icrl.experiments.progress import Begin
from icrl.finetune import data as store
from icrl.finetune.adapters import describe
from icrl.models.adapters import CONFIG
from icrl.models.hf import TransformersModel

EVALUATION = "evaluation.json"
WORSE = {"regret": 1, "suffix failure": 1, "coverage": -1}
"""Measures of which more, or less, is worse than the teacher."""
PIECE = 512
"""Tokens of a text that are read at once."""
Found = dict[str, dict[str, Side]]
"""By split, then by player."""


def students(plan: DistillPlan, out: Path, adapter: str | None = None) -> dict[str, TransformersModel]:
    """The base, and the student that was made of it.

    Args:
        plan: What was distilled.
        out: Its folder.
        adapter: Another adapter, to be judged in the place of the plan's own.

    Raises:
        ValueError: There is none yet, or it is of another base; or the folder is of another plan.
    """
    is_of(out / TRAINING / PLAN, plan.about_training)
    folder = Path(adapter) if adapter else trained_in(plan, out, plan.rounds.count)
    if not folder.is_dir():
        raise ValueError(f"out: {folder} is not there yet; icrl distill makes it")
    base = base_model(plan)
    return {"base": base, "student": student(plan, folder, base)}


def evaluate(
    plan: DistillPlan, models: dict[str, TransformersModel], begin: Begin, only: tuple[str, ...] = ()
) -> Found:
    """All splits, or some.

    Raises:
        ValueError: The plan has no teacher, or there is no such split.
    """
    if (teacher := plan.teaches()) is None:
        raise ValueError("teacher: the plan has none, so there is nobody to be compared with")
    all_of_them = splits(plan)
    if odd := [name for name in only if name not in {split.name for split in all_of_them}]:
        known = ", ".join(split.name for split in all_of_them)
        raise ValueError(f"split: there is no {odd[0]!r} of this plan; there are {known}")
    wanted: list[Split] = [split for split in all_of_them if not only or split.name in only]
    watch, found, judge = begin("evaluate", len(wanted)), Found(), plan.evaluate
    for split in wanted:
        found[split.name] = compared(split, models, teacher, judge.episodes, judge.seed)
        watch(split.name, 1, 0)
    return found


def table(found: Found) -> pd.DataFrame:
    """A row for each split and player: measures, intervals, paired differences from the teacher."""
    rows = []
    for split, sides in found.items():
        for player, side in sides.items():
            row: dict[str, Any] = {"split": split, "player": player} | _spread("normalised regret", side.normalised)
            for name, own in side.measures.items():
                row |= _spread(name, own) | _spread(f"{name} beside the teacher", side.beside[name])
            rows.append(row | dict(side.agreement))
    return pd.DataFrame(rows)


def _spread(name: str, interval: tuple[float, float, float]) -> dict[str, float]:
    value, low, high = interval
    return {name: value, f"{name} low": low, f"{name} high": high}


def verdict(found: Found) -> list[str]:
    """Where the student is worse than its teacher, one sentence each; the interval of the difference excludes 0."""
    told = []
    for split, sides in found.items():
        for name, sign in WORSE.items():
            value, low, high = sides["student"].beside[name]
            if sign * low > 0 and sign * high > 0:
                told.append(f"{split}: {name} is worse than the teacher's by {abs(value):.3g} [{low:.3g}, {high:.3g}]")
    return told


def save(found: Found, out: Path, more: dict[str, Any]) -> None:
    """Writes table and verdict of all splits to OUT/evaluation.json and OUT/evaluation.csv."""
    held = {split: {player: asdict(side) for player, side in sides.items()} for split, sides in found.items()}
    text = json.dumps({"splits": held, "worse": verdict(found), **more}, indent=1)
    (out / EVALUATION).write_text(text, encoding="utf-8")
    table(found).to_csv(out / "evaluation.csv", index=False)


def card(plan: DistillPlan, found: Found, out: Path, adapter: Path) -> None:
    """Writes the card of an adapter that came of a plan, also by reinforcement; whole models have none."""
    if not (adapter / CONFIG).is_file():
        return
    told: dict[str, Any] = {"base": plan.served.model, "teacher": plan.teacher}
    if adapter == trained_in(plan, out, plan.rounds.count):
        rounds = [store.read(home(out, r) / DATA)[2] for r in range(plan.rounds.count + 1)]
        told |= {"label": plan.label, "written": [one["written"] for one in rounds], "versions": rounds[0]["versions"]}
    else:
        told |= {"reinforce": plan.reinforce.model_dump(), "versions": versions()}
    describe(adapter, told, table(found)[["split", "player", "normalised regret", *MEASURES, *AGREEMENT]])


def perplexity(model: TransformersModel, text: str) -> float:
    """Of a text, read in pieces: what a model forgot is seen beside its base's.

    Raises:
        ValueError: The text has less than two tokens.
    """
    ids = torch.tensor(model.tokenizer.encode(text, add_special_tokens=False))
    if len(ids) < 2:
        raise ValueError(f"text: it must have two tokens at least, got {len(ids)}")
    total, count = 0.0, 0
    with model.adapters.lock, torch.no_grad():
        model.adapters.use(model.model, model.adapter)
        for piece in torch.split(ids, PIECE):
            if len(piece) > 1:
                logits = model.model(piece[None].to(model.model.device)).logits[0, :-1].float()
                total += float(torch.nn.functional.cross_entropy(logits.cpu(), piece[1:], reduction="sum"))
                count += len(piece) - 1
    return math.exp(total / count)
