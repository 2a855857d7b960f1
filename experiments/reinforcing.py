"""From a plan to a model that is trained on its own play, and how it does beside what it began with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.random import Generator
from transformers import TrainerCallback

from icrl.envs.types import AnyWorld
from icrl.experiments.distill_data import PLAN
from icrl.experiments.distill_home import TRAINING, alone, base_model, home, student, trained_in
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.distill_watch import Bar, is_main, playing, processes, silently
from icrl.experiments.distilling import Distilled, as_plan
from icrl.experiments.planned import claim, is_of
from icrl.experiments.progress import Begin, told
from icrl.finetune import running
from icrl.finetune.adapters import wrapped
from icrl.finetune.grpo import Episodic, Games
from icrl.finetune.grpo import reinforce as train
from icrl.models.adapters import CONFIG
from icrl.models.hf import TransformersModel
from icrl.prompts import Prompt

REINFORCED = "reinforced"
"""The folder of checkpoints and of what is kept, in that of the plan."""


def reinforce(
    plan: DistillPlan | str | Path | Mapping[str, Any],
    out: str | Path,
    begin: Begin | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Distilled:
    """Trains a model on its own play by GRPO: the plan's tasks, told as the plan says, and its `reinforce`.

    A training goes on from its last checkpoint.

    Args:
        plan: A plan, its fields, or a YAML file of them; see `icrl.experiments.distill_plan.DistillPlan`.
        out: The folder, which may be that of a distillation: what comes of it is in `reinforced`.
        begin: Whom to tell of the progress; None: bars.
        callbacks: Of transformers' Trainer.

    Raises:
        ValueError: The folder is of another plan, something of the plan cannot be done, or another command is at work.
    """
    given, folder = as_plan(plan), Path(out).expanduser()
    with alone(folder), told(begin) as shown:
        return _reinforced(given, folder, shown, callbacks)


def _reinforced(plan: DistillPlan, out: Path, begin: Begin, callbacks: Sequence[TrainerCallback]) -> Distilled:
    by, folder, about = plan.reinforce, out / REINFORCED, plan.about_training
    is_of(out / TRAINING / PLAN, about)
    about |= {"reinforce": by.model_dump()}
    if by.start == "distilled":
        about |= {"round": plan.rounds.count}
    with processes().main_process_first():
        claim(folder / PLAN, about, running.begun(folder))
    model = base_model(plan)
    teacher = plan.teaches() if by.reward == "agreement" else None
    plays = Episodic(games(plan, model), by.earned(teacher), by.plays, plan.data.seed)
    watching, play = (Bar(begin if is_main() else silently), *callbacks), playing(plan)
    how, base, start = (by, plan.train), plan.served.model, begun(plan, out, model)
    return Distilled(plan, out, train(start, model.tokenizer, plays, how, folder, play, base, watching))


def begun(plan: DistillPlan, out: Path, model: TransformersModel) -> Any:
    """The weights to begin with, as a model of transformers or of PEFT.

    Raises:
        ValueError: They are to be those that were distilled, and there are none yet, or of another plan.
    """
    if plan.reinforce.start == "base":
        return model.model
    last = plan.rounds.count
    folder = trained_in(plan, out, last)
    if not is_of(home(out, last) / TRAINING / PLAN, plan.about_training) or not folder.is_dir():
        raise ValueError(f"reinforce.start: {folder} is not there yet; icrl distill makes it")
    if (folder / CONFIG).is_file():
        return wrapped(model.model, str(folder), trains=True)
    return student(plan, folder).model


def games(plan: DistillPlan, model: TransformersModel) -> Games:
    """Draws the plan's tasks and prompts."""
    tasks, tell = plan.games(model.tokenizer)

    def draw(rng: Generator) -> tuple[AnyWorld, Prompt]:
        task = tasks.draw(rng)(rng)
        return task, tell(rng, task)

    return draw
