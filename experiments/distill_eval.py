"""What was learnt: student, base and teacher on the same luck, in what was trained for and beyond it."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from icrl.agents import LLMAgent
from icrl.experiments.distill_data import PLAN
from icrl.experiments.distill_found import EVALUATION, Found, recalled, remember, table
from icrl.experiments.distill_home import TRAINING, base_model, student, trained_in
from icrl.experiments.distill_measures import AGREEMENT, MEASURES, compared
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.distill_splits import Split, splits
from icrl.experiments.planned import is_of
from icrl.experiments.progress import Begin
from icrl.models.hf import TransformersModel


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
    plan: DistillPlan,
    models: Mapping[str, TransformersModel],
    begin: Begin,
    only: Collection[str] = (),
    out: Path | None = None,
) -> Found:
    """All splits, or some.

    Args:
        plan: What was distilled.
        models: Who is judged.
        begin: Whom to tell of the progress.
        only: The splits; empty: all.
        out: A folder, for evaluation.json, which grows split by split, and evaluation.csv; what is there of the same
            models is not played again.

    Raises:
        ValueError: The plan has no teacher, or there is no such split, or none that the models can play.
    """
    if (teacher := plan.teaches()) is None:
        raise ValueError("teacher: the plan has none, so there is nobody to be compared with")
    wanted, judge = list(_playable(_wanted(plan, only), models)), plan.evaluate
    of: dict[str, Any] = {"models": {name: model.facts for name, model in models.items()}, "teacher": plan.teacher}
    of |= {"evaluate": judge.model_dump(mode="json"), "prompt": plan.judged_by, "measures": [*MEASURES, *AGREEMENT]}
    found = Found() if out is None else recalled(out / EVALUATION, of)
    watch = begin("evaluate", len(wanted))
    for split in wanted:
        if split.name not in found:
            found[split.name] = compared(split, models, teacher, judge.episodes, judge.seed)
            if out is not None:
                remember(out / EVALUATION, of, found)
        watch(split.name, 1, 0)
    found = {split.name: found[split.name] for split in wanted}
    if out is not None:
        table(found).to_csv(out / "evaluation.csv", index=False)
    return found


def _wanted(plan: DistillPlan, only: Collection[str]) -> list[Split]:
    all_of_them = splits(plan)
    if odd := [name for name in only if name not in {split.name for split in all_of_them}]:
        known = ", ".join(split.name for split in all_of_them)
        raise ValueError(f"split: there is no {odd[0]!r} of this plan; there are {known}")
    return [split for split in all_of_them if not only or split.name in only]


def _playable(wanted: list[Split], models: Mapping[str, TransformersModel]) -> Iterator[Split]:
    """Those that fit into the models' windows; found before anything is played.

    Raises:
        ValueError: There is none.
    """
    left: list[str] = []
    for split in wanted:
        try:
            for model in models.values():
                LLMAgent(model, split.prompt).check(split.task.public)
        except ValueError as error:
            left.append(f"{split.name}: {error}")
        else:
            yield split
    if len(left) == len(wanted):
        raise ValueError(left[0])
    for why in left:
        warnings.warn(f"evaluate: left out {why}", stacklevel=4)
