"""What algorithms leave in pocket's weights. Run: `python benchmarks/distill_study.py` (hours on 2 cores; see --only).

Each teacher, control and seed is one training of some 20 minutes in one thread (Thompson sampling and contexts: over an
hour), two of them side by side, and an evaluation beside the teacher on the same luck. Writes
results/distill_study.json part by part (the same command again does what is missing) and docs/distilling_figures.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from card.common import machine
from card.parts import Part, begun, save, side_by_side
from distilled.logs import offline
from distilled.page import page
from distilled.plans import CASES, CONTEXTS, DAGGER, DECISIONS, EASY, OFFLINE, SEEDS, WIDE
from distilled.study import SPLITS, base, contexts, example, on_policy, reinforced, student

import icrl

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "distill_study.json", ROOT / "docs" / "distilling_figures.md"
TEACHERS, WIDELY, FEW = ("UCB", "Thompson"), ("UCB", WIDE), ("new labels",)
"""Of whom there are three seeds; and who is judged in all splits."""


def main(
    only: Annotated[list[str] | None, typer.Option(help="Parts whose name begins so; may be repeated.")] = None,
    decisions: Annotated[int, typer.Option(help="Of most trainings; with others nothing is written.")] = DECISIONS,
) -> None:
    """Train, judge, and write the page."""
    head = {"model": icrl.load_model("pocket").facts, "machine": machine(), "decisions": decisions}
    writes = decisions == DECISIONS
    found = begun(RESULTS, head) if writes else head
    every = parts(decisions)
    wanted = [name for first in only or [""] for name in every if name.startswith(first) and name not in found]
    for name, measured in side_by_side({name: every[name] for name in wanted}):
        found[name] = measured
        print(json.dumps({name: measured}), flush=True)
        if writes:
            save(RESULTS, found)
    if writes:
        PAGE.write_text(page(found), encoding="utf-8")


def parts(decisions: int) -> dict[str, Part]:
    """What is to be measured: teachers at all splits once, their other seeds and the rest where labels are new."""
    taught = [(name, 0) for name in CASES if name not in (OFFLINE, DAGGER, EASY)]
    found: dict[str, Part] = {}
    for name, seed in [*taught, *((name, seed) for seed in SEEDS[1:] for name in TEACHERS)]:
        judged = contexts if name == CONTEXTS else student
        wanted = SPLITS if seed == 0 and name in WIDELY else FEW
        found[f"{name}, seed {seed}"] = (judged, (name, seed, decisions, wanted))
    more: dict[str, Part] = {"on policy": (on_policy, (decisions,)), "expert's logs": (offline, (decisions,))}
    more |= {"examples/distill.yaml": (example, (str(EXAMPLES / "distill.yaml"), FEW))}
    more |= {"GRPO": (reinforced, (str(EXAMPLES / "reinforce.yaml"),)), "base": (base, (SPLITS,))}
    return found | more


if __name__ == "__main__":
    typer.run(main)
