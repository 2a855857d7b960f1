"""Where a distilled model is judged: what it was trained for, and what lies beyond that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from pydantic import BaseModel

from icrl.envs import Bandit, Gap
from icrl.envs.means import Fixed
from icrl.envs.types import AnyWorld
from icrl.experiments.config import build_task
from icrl.experiments.distill_parts import judged, scaled
from icrl.experiments.distill_plan import DistillPlan
from icrl.finetune import draws
from icrl.finetune.heldout import STORIES, trained
from icrl.prompts import Prompt, scenarios

LONGER = 3
"""Times the horizon."""
DRAWN = 200
"""Tasks by which it is found how many arms were trained on."""


@dataclass(frozen=True)
class Split:
    """A task, and how it is told."""

    name: str
    task: AnyWorld
    prompt: Prompt


def splits(plan: DistillPlan) -> list[Split]:
    """Those that the plan's task allows: a task of the user's own, or of other means, has fewer."""
    beyond = (replace(split, task=scaled(split.task, plan.evaluate.scale)) for split in _splits(plan))
    return [in_distribution(plan), *beyond]


def in_distribution(plan: DistillPlan) -> Split:
    """What the plan trains for; states of the model in training are compared by it, on other luck."""
    task, words = build_task(plan.evaluate.task), draws.first(plan.words(plan.served.tokenizer()))
    prompt = judged(plan.judged_by | {"labels": words}, task)
    return Split("in distribution", scaled(task, plan.evaluate.scale), prompt)


def _splits(plan: DistillPlan) -> Iterator[Split]:
    task, fields = build_task(plan.evaluate.task), plan.judged_by
    told = partial(judged, shown=set(draws.leaves(plan.data.prompt.get("labels") or trained())))
    yield Split("new labels", task, told(fields, task))
    if new := [name for name in scenarios() if name not in (*STORIES, *_stories(plan))]:
        yield Split("new scenario", task, told(fields | {"scenario": new[0]}, task))
    if not isinstance(task, BaseModel):
        return
    if isinstance(task, Bandit) and not isinstance(task.means, Fixed):
        yield Split("larger K", _changed(task, n_arms=_most_arms(plan) + 2), told(fields, task))
        if isinstance(task.means, Gap):
            smaller = task.means.model_copy(update={"gap": task.means.gap / 2})
            yield Split("smaller gap", _changed(task, means=smaller), told(fields, task))
    if task.public.horizon is not None and "horizon" in type(task).model_fields:
        yield Split(f"horizon x{LONGER}", _changed(task, horizon=LONGER * task.public.horizon), told(fields, task))


def _stories(plan: DistillPlan) -> list[str]:
    """Scenarios that the plan's rows are told in."""
    return list(draws.leaves(plan.data.prompt.get("scenario", "buttons")))


def _changed(task: Any, **fields: Any) -> Any:
    return type(task).model_validate(task.model_dump() | fields)


def _most_arms(plan: DistillPlan) -> int:
    """Of the tasks that were trained on."""
    rng = np.random.default_rng(0)
    families = plan.data.tasks
    return max(families[i % len(families)].draw(rng).public.n_arms for i in range(DRAWN))
