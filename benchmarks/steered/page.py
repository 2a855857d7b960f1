"""The figures of steering as a page of the docs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from steered.common import EASY, HARD

HEAD = """# Figures of steering

Written by `python benchmarks/steering.py` from `benchmarks/results/steering.json`. Model: {model}, weights
{revision}; {machine}. What [the page on steering](steering.md) says of them holds for this model only, which is a test
bed of 2.9 million weights. Labels are held out; vectors are fitted on 65 episodes of {hard}, other luck than all that
is reported here. Strengths are relative to the mean length of the residual stream.
"""


def page(found: dict[str, Any]) -> str:
    """Markdown; what has not been measured yet is left out."""
    layer = found["layer"]
    parts = [HEAD.format(**found["model"], machine=found["machine"], hard=HARD), _layers(found["layers"])]
    if "relatives" in found:
        parts.append(_relatives(found["relatives"], found["layers"]["unsteered"]["entropy"], layer))
    if "thoughts" in found:
        parts.append(_thoughts(found["thoughts"]))
    parts += [_plays(found, task, layer) for task in (HARD, EASY) if f"play, {task}, EAST" in found]
    if "long, unsteered" in found:
        parts.append(_long(found))
    if "selective" in found:
        parts.append(_selective(found["selective"]))
    return "\n".join(parts)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _layers(found: dict[str, Any]) -> str:
    strengths = list(found["0"])
    rows = [[layer, *(_cell(row[x]) for x in strengths)] for layer, row in found.items() if layer != "unsteered"]
    plain = found["unsteered"]
    return (
        "## EAST behind each layer\n\nMean entropy of the policy in nats (in brackets the label mass, if below "
        f"0.99) over 4,000 prompts of {HARD} that the unsteered agent met; unsteered {plain['entropy']:.3f} "
        f"({plain['mass']:.3f}).\n\n" + _table(["layer", *strengths], rows)
    )


def _cell(cell: dict[str, float]) -> str:
    return f"{cell['entropy']:.3f}" + (f" ({cell['mass']:.3f})" if cell["mass"] < 0.99 else "")


def _relatives(found: dict[str, Any], plain: float, layer: int) -> str:
    strengths = list(found["EAST"])[:4]
    groups = {
        "permuted": "entropies permuted within runs, 10 refits",
        "shuffled": "shuffled coordinates, 10 draws",
        "random": "random directions, 10 draws",
    }
    rows = []
    for name, row in found.items():
        if name.split()[0] not in groups and name not in ("in-context", "EAST, minus"):
            cells = [f"{row[x]['entropy'] - plain:+.3f}" + _mass(row[x]["mass"]) for x in strengths]
            rows.append([name, *cells, f"{row['cosine with EAST']:+.2f}", f"{row['cosine with time']:+.2f}"])
    minus = [f"{cell['entropy'] - plain:+.3f}" for cell in found["EAST, minus"].values()]
    rows.append(["EAST, minus", *minus, "-1.00", ""])
    for group, told in groups.items():
        drawn = [row for name, row in found.items() if name.split()[0] == group]
        moved = [np.array([row[x]["entropy"] - plain for row in drawn]) for x in strengths]
        mass = [float(np.mean([row[x]["mass"] for row in drawn])) for x in strengths]
        cells = [
            f"{m.mean():+.3f} ({m.min():+.2f} to {m.max():+.2f}){_mass(w)}" for m, w in zip(moved, mass, strict=True)
        ]
        rows.append([told, *cells, "", ""])
    whole = [[x, f"{cell['entropy'] - plain:+.3f}{_mass(cell['mass'])}"] for x, cell in found["in-context"].items()]
    return (
        f"## Relatives and controls behind layer {layer}\n\nChange of the mean entropy at the same prompts (and "
        "the mass, where below 0.95), all at equal relative strength, and the angle to EAST and to the direction of "
        "time.\n\n"
        + _table(["direction", *strengths, "cos EAST", "cos time"], rows)
        + "\nIn-context vectors, which are for all layers and have a strength of their own:\n\n"
        + _table(["positions and strength", "change"], whole)
    )


def _mass(mass: float) -> str:
    return f", mass {mass:.2f}" if mass < 0.95 else ""


def _thoughts(found: dict[str, Any]) -> str:
    plain = found["unsteered"]
    rows = [
        [name, f"{cell['entropy'] - plain['entropy']:+.3f}", f"{cell['mass']:.3f}"]
        for name, cell in found.items()
        if isinstance(cell, dict) and name != "unsteered"
    ]
    return (
        f"## Where a thought stands before the answer\n\nAt 192 prompts of 12 steps of {HARD} that the unsteered "
        f"agent met: entropy of the mean policy over 4 thoughts; unsteered {plain['entropy']:.3f} (mass "
        f"{plain['mass']:.3f}). Vectors of play with thoughts, of play without, and controls of the first, by "
        f"relative strength. The first two have a cosine of {found['cosine']:.2f}.\n\n"
        + _table(["vector, strength", "change", "mass"], rows)
    )


def _plays(found: dict[str, Any], task: str, layer: int) -> str:
    base = found[f"play, {task}, unsteered"]
    names = [name.removeprefix(f"play, {task}, ") for name in found if name.startswith(f"play, {task}, ")]
    rows = [_row("unsteered", base, {})]
    for name in sorted(names, key=lambda n: float(found[f"play, {task}, {n}"]["regret"])):
        if name != "unsteered":
            rows.append(_row(name, found[f"play, {task}, {name}"], found.get(f"strength, {task}, {name}", {})))
    return (
        f"## Play at matched entropy: {task}\n\n{found['episodes']} episodes of 100 steps on the same luck. All but "
        f"those marked * were brought to 0.2 nats above the unsteered agent's entropy on other luck, EAST and its like "
        f"behind layer {layer}; ! says that no strength of "
        f"either sign reached it, and it plays with EAST's. In brackets 95 % intervals of the paired "
        "difference.\n\n" + _table(COLUMNS, rows)
    )


COLUMNS = [
    "player",
    "strength",
    "entropy",
    "regret",
    "beside unsteered",
    "suffix failure",
    "beside unsteered",
    "switches",
    "beside unsteered",
    "mass",
]


def _row(name: str, cell: dict[str, Any], calibration: dict[str, Any]) -> list[str]:
    mark = "*" if not calibration and name != "unsteered" else "" if calibration.get("reached", True) else "!"
    beside = [cell.get(f"{what} beside unsteered") for what in ("regret", "suffix failure", "switch rate")]
    told = ["" if d is None else f"{d['diff']:+.2f} [{d['low']:+.2f}, {d['high']:+.2f}]" for d in beside]
    return [
        f"{name}{mark}",
        f"{cell['strength']:.3f}" if calibration else "",
        f"{cell['entropy']:.3f} ± {cell['entropy, half of its interval']:.3f}",
        f"{cell['regret']:.2f}",
        told[0],
        f"{cell['suffix failure']:.3f}",
        told[1],
        f"{cell['switch rate']:.3f}",
        told[2],
        f"{cell['mass']:.3f}",
    ]


def _long(found: dict[str, Any]) -> str:
    names = [name.removeprefix("long, ") for name in found if name.startswith("long, ")]
    rows = [_row(name, found[f"long, {name}"], found.get(f"strength, {HARD}, {name}", {})) for name in names]
    n = max(found[f"long, {name}"].get("regret beside unsteered", {"n": 0})["n"] for name in names)
    return (
        f"## The three of the least regret, T = 300 ({HARD})\n\n{n} episodes on luck that was not met before. "
        "Strengths are those found at T = 100, so entropies are not matched here.\n\n" + _table(COLUMNS, rows)
    )


SELECTIVE = """## Does the entropy rise where little is known?

At the prompts of 60 episodes of unsteered play of bernoulli-hard: mean change of the entropy; its rank correlation with
the entropy of the posterior of being best (uniform priors), and with 1 / n of the arm that has the highest mean; then
the partial correlations given temperature's own change at the same prompt, and given the step. In brackets 95 %
intervals of a bootstrap over episodes. Those marked ! above have EAST's strength.
"""


def _selective(found: dict[str, Any]) -> str:
    columns = list(next(iter(found.values())))
    rows = []
    for name, row in found.items():
        cells = [row[c] if isinstance(row[c], list) else [row[c]] for c in columns]
        told = [
            "" if x[0] != x[0] else f"{x[0]:+.2f}" + (f" [{x[1]:+.2f}, {x[2]:+.2f}]" if x[1:] else "") for x in cells
        ]
        rows.append([name, *told])
    return f"{SELECTIVE}\n" + _table(["way", *columns], rows)
