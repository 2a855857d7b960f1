"""What an evaluation finds: kept split by split, as a table, as a verdict, and on the adapter's card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from icrl.experiments.distill_data import DATA, versions
from icrl.experiments.distill_home import home, trained_in
from icrl.experiments.distill_measures import AGREEMENT, MEASURES, Side
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.planned import keep, known
from icrl.finetune import data as store
from icrl.finetune.adapters import describe
from icrl.models.adapters import CONFIG

EVALUATION = "evaluation.json"
WORSE = {"regret": 1, "suffix failure": 1, "coverage": -1}
"""Measures of which more, or less, is worse than the teacher."""
OTHER = ("K MinFrac", "GreedyFrac")
"""Measures of which neither is worse, but an imitator would have the teacher's: a greedy one may lose as little."""
Found = dict[str, dict[str, Side]]
"""By split, then by player."""


def recalled(file: Path, of: Mapping[str, Any]) -> Found:
    """The splits that were judged before, of the very same."""
    told = known(file) if file.is_file() else {}
    if told.get("of") != json.loads(json.dumps(of)):
        return {}
    return TypeAdapter(Found).validate_python(told["splits"])


def remember(file: Path, of: Mapping[str, Any], found: Found) -> None:
    """Writes the splits so far, with the verdict."""
    held = {split: {player: asdict(side) for player, side in sides.items()} for split, sides in found.items()}
    keep(file, {"of": of, "splits": held, "worse": verdict(found)})


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
    """Where the student is worse than its teacher, or explores otherwise, one sentence each.

    A sentence is said where the interval of the paired difference excludes 0.
    """
    told = []
    for split, sides in found.items():
        for name, (value, low, high) in sides["student"].beside.items():
            if not (low > 0 or high < 0) or (name not in OTHER and value * WORSE[name] < 0):
                continue
            what = f"is {'more' if value > 0 else 'less'} than" if name in OTHER else "is worse than"
            told.append(f"{split}: {name} {what} the teacher's by {abs(value):.3g} [{low:.3g}, {high:.3g}]")
    return told


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
