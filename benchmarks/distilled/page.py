"""The page of figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from distilled.asked import ENTROPIES
from distilled.asked import rows as asked_rows
from scipy import stats

ABOUT = """Written by `python benchmarks/distill_study.py`, from `benchmarks/results/distill_study.json`. pocket,
weights {revision}; {machine}; {decisions:,} decisions, LoRA of rank 32, learning rate 5e-4 and label `policy`, unless
`benchmarks/distilled/plans.py` says otherwise; 256 episodes (128 of the Gaussian task) on the same luck, bootstrap
intervals (95 %). Agreement and total variation are with the teacher's policy, on the teacher's histories and on the
student's own. Controls are judged beside UCB. UCB and Thompson have three training seeds, the others one, so their
intervals are over episodes only. In the test of odd and even places labels are drawn for each episode, as in all
prompts; what is fixed or drawn anew is the places, by which the audit fails the one and passes the other."""
SEEDS = """Over training seeds, all on the same luck: the mean, with Student's t for the spread between seeds and 1.96
standard errors for that between episodes, added by their squares."""
HEADS = ("student", "normalised regret", "suffix failure", "beside the teacher's", "K MinFrac", "beside the teacher's")
MORE = ("GreedyFrac", "agreement", "on its own", "total variation", "on its own", "entropy", "teacher's")
SPREAD = ("suffix failure", "K MinFrac")
ALIKE = ("agreement", "total variation")
WHOSE = ("the teacher's", "its own")


def page(found: Mapping[str, Any]) -> str:
    """As Markdown; parts that are missing are not there."""
    students = {name: part for name, part in found.items() if isinstance(part, dict) and "splits" in part}
    lines = ["# Figures of distilling", "", ABOUT.format(revision=found["model"]["revision"], **found)]
    asked = iter(asked_rows(_by_seeds(students)))
    lines += _table("What was asked", ("student", "what", "asked", "mean over seeds", ""), asked)
    for split in dict.fromkeys(split for part in students.values() for split in part["splits"]):
        rows = (_row(name, part["splits"][split]) for name, part in students.items() if split in part["splits"])
        lines += _table(split, (*HEADS, *MORE), rows)
    lines += _seeds(students)
    trained = {name: part for name, part in students.items() if "best" in part}
    heads = ("student", "minutes", "step kept", "loss", "regret of uniform's", "loss and regret", "audit")
    lines += _table("Trainings", heads, (_training(name, part) for name, part in trained.items()))
    for name, told in (("on policy", _on_policy), ("expert's logs", _logs), ("GRPO", _grpo)):
        lines += told(found[name]) if name in found else []
    return "\n".join(lines) + "\n"


def _table(title: str, heads: Sequence[str], rows: Iterator[list[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["", f"## {title}", "", *(f"| {' | '.join(line)} |" for line in lines)]


def _row(name: str, side: Mapping[str, Any]) -> list[str]:
    own, beside, alike = side["measures"], side["beside"], side["agreement"]
    cells = [name, _interval(side["normalised"])]
    for measure in SPREAD:
        cells += [f"{own[measure][0]:.3f}", _interval(beside[measure])]
    cells += [f"{own['GreedyFrac'][0]:.3f}"]
    cells += [f"{alike[f'{what} on {whose} histories']:.3f}" for what in ALIKE for whose in WHOSE]
    return [*cells, *(f"{alike[name]:.3f}" for name in ENTROPIES)]


def _interval(cells: Sequence[float]) -> str:
    value, low, high = cells
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _seeds(students: Mapping[str, Any]) -> list[str]:
    """Teachers of which there are several seeds."""
    rows = []
    for name, sides in _by_seeds(students).items():
        if len(sides) > 1:
            cells = [_over([side["normalised"] for side in sides])]
            cells += [_over([side["beside"][measure] for side in sides]) for measure in SPREAD]
            means = [
                np.mean([side["agreement"][f"{what} on the teacher's histories"] for side in sides]) for what in ALIKE
            ]
            rows.append([f"{name}, {len(sides)} seeds", *cells, *(f"{value:.3f}" for value in means)])
    heads = ("student", "normalised regret", "suffix failure beside", "K MinFrac beside", *ALIKE)
    table = _table("New labels, over seeds", heads, iter(rows)) if rows else []
    return [*table[:2], SEEDS, "", *table[3:]] if table else []


def _by_seeds(students: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What was found with new labels, by teacher or control, a side for each seed."""
    groups: dict[str, list[Any]] = {}
    for name, part in students.items():
        if "new labels" in part["splits"] and ", seed " in name:
            groups.setdefault(name.partition(", seed ")[0], []).append(part["splits"]["new labels"])
    return groups


def _over(intervals: Sequence[Sequence[float]]) -> str:
    values = np.array([cells[0] for cells in intervals])
    within = np.mean([((high - low) / 2) ** 2 for _, low, high in intervals])
    between = stats.t.ppf(0.975, len(values) - 1) ** 2 * values.var(ddof=1) / len(values)
    error = np.sqrt(within + between)
    return _interval((float(values.mean()), float(values.mean() - error), float(values.mean() + error)))


def _training(name: str, part: Mapping[str, Any]) -> list[str]:
    best, agreement = part["best"], part["agreement of loss and regret"]
    told = "" if agreement is None else f"{agreement:+.2f}"
    passed = "passed" if part["audit"]["passed"] else "FAILED"
    cells = [name, _minutes(part), str(best["step"]), f"{best['loss']:.4f}", f"{best['regret']:.3f}"]
    return [*cells, told, passed]


def _minutes(part: Mapping[str, Any]) -> str:
    return "interrupted" if part["minutes"] is None else f"{part['minutes']:.0f}"


def _on_policy(part: Mapping[str, Any]) -> list[str]:
    names = [name for name in next(iter(part["measures"].values())) if name != "DAgger - offline"]
    rows = (
        [measure, *(f"{cells[name]:.3f}" for name in names), _interval(cells["DAgger - offline"])]
        for measure, cells in part["measures"].items()
    )
    table = _table("A round of DAgger, at three times the horizon", ("measure", *names, "DAgger - offline"), rows)
    learnt = ", ".join(f"{name}: {n:,}" for name, n in part["decisions"].items())
    return [*table, "", f"One training each; intervals are over episodes. Decisions learnt: {learnt}."]


def _logs(part: Mapping[str, Any]) -> list[str]:
    players = list(next(iter(part.values()))["lost"])
    rows = (
        [share, *(_interval(cells["lost"][who]) for who in players), _interval(cells["model - empirical mean"])]
        for share, cells in part.items()
    )
    return _table("What the choice after an expert's game loses", ("games", *players, "model - empirical mean"), rows)


def _grpo(part: Mapping[str, Any]) -> list[str]:
    rows = (
        [measure, f"{cells['base']:.3f}", f"{cells['student']:.3f}", _interval(cells["student - base"])]
        for measure, cells in part["measures"].items()
    )
    told = f"{_minutes(part)} minutes; mass on the labels {part['mass']['base']:.4f}, {part['mass']['student']:.4f}."
    return [*_table("GRPO, two arms", ("measure", "base", "student", "student - base"), rows), "", told]
