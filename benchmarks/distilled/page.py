"""The page of figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADS = ("student", "normalised regret", "suffix failure", "beside the teacher's", "K MinFrac", "beside the teacher's")
MORE = ("GreedyFrac", "agreement", "on its own", "total variation", "on its own")


ABOUT = """Written by `python benchmarks/distill_study.py`, from `benchmarks/results/distill_study.json`. pocket,
weights {revision}; {machine}; {decisions:,} decisions, LoRA of rank 32 unless said otherwise, label `policy`; 256
episodes on the same luck, bootstrap intervals (95 %). Agreement and total variation are with the teacher's
policy, on the teacher's histories and on the student's own."""


def page(found: Mapping[str, Any]) -> str:
    """As Markdown; parts that are missing are not there."""
    students = {name: part for name, part in found.items() if isinstance(part, dict) and "splits" in part}
    splits = dict.fromkeys(split for part in students.values() for split in part["splits"])
    lines = [
        "# Figures of distilling",
        "",
        ABOUT.format(revision=found["model"]["revision"], **found),
    ]
    for split in splits:
        lines += ["", f"## {split}", "", f"| {' | '.join(HEADS + MORE)} |", "|" + " --- |" * len(HEADS + MORE)]
        lines += [_row(name, part["splits"][split]) for name, part in students.items() if split in part["splits"]]
    lines += ["", "## Trainings", "", "| student | minutes | step | loss | regret of uniform's | loss and regret |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    lines += [_training(name, part) for name, part in students.items() if "best" in part]
    return "\n".join(lines) + "\n"


def _row(name: str, side: Mapping[str, Any]) -> str:
    own, beside, alike = side["measures"], side["beside"], side["agreement"]
    cells = [name, _interval(side["normalised"])]
    for measure in ("suffix failure", "K MinFrac"):
        cells += [f"{own[measure][0]:.3f}", _interval(beside[measure])]
    cells += [f"{own['GreedyFrac'][0]:.3f}"]
    for what in ("agreement", "total variation"):
        cells += [f"{alike[f'{what} on {whose} histories']:.3f}" for whose in ("the teacher's", "its own")]
    return f"| {' | '.join(cells)} |"


def _interval(cells: tuple[float, float, float]) -> str:
    value, low, high = cells
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _training(name: str, part: Mapping[str, Any]) -> str:
    best, agreement = part["best"], part["agreement of loss and regret"]
    told = "" if agreement is None else f"{agreement:+.2f}"
    return f"| {name} | {part['minutes']:.0f} | {best['step']} | {best['loss']:.4f} | {best['regret']:.3f} | {told} |"
