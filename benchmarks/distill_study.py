"""What algorithms leave in pocket's weights. Run: `python benchmarks/distill_study.py` (hours on 2 cores; see --only).

Each teacher, control and seed is one training of some 20 minutes in one thread, two of them side by side, and an
evaluation beside the teacher on the same luck. Writes results/distill_study.json part by part (the same command again
does what is missing) and docs/distilling_figures.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from card.common import machine
from card.parts import begun, save, side_by_side
from distilled.page import page
from distilled.plans import DECISIONS, FULL, SEEDS, TEACHERS
from distilled.study import SPLITS, base, student

import icrl

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "distill_study.json", ROOT / "docs" / "distilling_figures.md"
FEW = ("new labels",)


def main(
    only: Annotated[list[str] | None, typer.Option(help="Parts whose name begins so; may be repeated.")] = None,
    decisions: Annotated[int, typer.Option(help="Of each training; with others nothing is written.")] = DECISIONS,
) -> None:
    """Train, judge, and write the page."""
    head = {"model": icrl.load_model("pocket").facts, "machine": machine(), "decisions": decisions}
    writes = decisions == DECISIONS
    found = begun(RESULTS, head) if writes else head
    taught = [(name, seed) for seed in SEEDS for name in ("UCB", "Thompson")]
    taught += [(name, 0) for name in (FULL, *TEACHERS) if name not in ("UCB", "Thompson")]
    parts = {f"{name}, seed {seed}": (student, (name, seed, decisions, _splits(name, seed))) for name, seed in taught}
    parts = parts | {"base": (base, (SPLITS,))}
    wanted = {name: part for name, part in parts.items() if not only or name.startswith(tuple(only))}
    for name, measured in side_by_side({name: part for name, part in wanted.items() if name not in found}):
        found[name] = measured
        print(json.dumps({name: measured}), flush=True)
        if writes:
            save(RESULTS, found)
    if writes:
        PAGE.write_text(page(found), encoding="utf-8")


def _splits(name: str, seed: int) -> tuple[str, ...]:
    """All of them once for each teacher; seeds and controls are compared where labels are new."""
    return SPLITS if name in ("UCB", "Thompson") and seed == 0 else FEW


if __name__ == "__main__":
    typer.run(main)
