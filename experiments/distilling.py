"""From a plan to an adapter: rows, training, rounds; each is done once, and what was interrupted goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets
from transformers import TrainerCallback

from icrl.envs.spec import checked
from icrl.experiments.distill_data import DATA, PLAN, Rows
from icrl.experiments.distill_data import write as write_rows
from icrl.experiments.distill_home import TRAINING, alone, base_model, home, student, trained_in
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.distill_watch import Bar, is_main, playing, processes, silently
from icrl.experiments.planned import claim
from icrl.experiments.progress import Begin, told
from icrl.finetune import data as store
from icrl.finetune.running import Trained, begun, fills
from icrl.finetune.sft import train
from icrl.models.load import load_window


@dataclass(frozen=True)
class Distilled:
    """What came of a plan."""

    plan: DistillPlan
    folder: Path
    trained: Trained
    """Of the last round."""


def distill(
    plan: DistillPlan | str | Path | Mapping[str, Any],
    out: str | Path,
    begin: Begin | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Distilled:
    """Teaches a model to play like an algorithm: writes rows, trains on them, keeps the state that plays best.

    What is in the folder already is not done again, and a training goes on from its last checkpoint.

    Args:
        plan: A plan, its fields, or a YAML file of them; see `icrl.experiments.distill_plan.DistillPlan`.
        out: The folder: rows in `data`, checkpoints and the adapter in `training`; further rounds in `round-1`, ...
        begin: Whom to tell of the progress; None: bars.
        callbacks: Of transformers' Trainer.

    Raises:
        ValueError: The folder is of another plan, something of the plan cannot be done, or another command is at work.
    """
    given, folder = as_plan(plan), Path(out).expanduser()
    with alone(folder), told(begin) as shown:
        return _distilled(given, folder, shown, callbacks)


def as_plan(plan: DistillPlan | str | Path | Mapping[str, Any]) -> DistillPlan:
    """A plan of whatever stands for one."""
    if isinstance(plan, str | Path):
        return DistillPlan.load(plan)
    return plan if isinstance(plan, DistillPlan) else checked(DistillPlan, dict(plan))


def write(plan: DistillPlan, out: Path, begin: Begin, r: int = 0) -> dict[str, Any]:
    """The rows of a round; of a later one the model made the histories as the round before had left it.

    Raises:
        ValueError: The folder is of another plan, or the rows cannot be made.
    """
    if r:
        player, seed, about = student(plan, trained_in(plan, out, r - 1)), plan.data.seed, plan.about_round(r)
        decisions, source = plan.rounds.decisions or plan.data.decisions, plan.on_policy(player)
        rows = Rows(source, player.tokenizer, player.window, decisions, about, True, seed + (r << 32))
        return write_rows(plan, rows, home(out, r), begin)
    model = base_model(plan) if plan.student_plays else None
    tokenizer = plan.served.tokenizer() if model is None else model.tokenizer
    served = plan.served
    fills(tokenizer)  # before rows are written that could not be trained on
    window = load_window(served.model, served.revision, tokenizer) if model is None else model.window
    source, about, data = plan.syllabus(tokenizer, model), plan.about_data, plan.data
    rows = Rows(source, tokenizer, window, data.decisions, about, plan.models_play, data.seed)
    return write_rows(plan, rows, out, begin)


def _distilled(plan: DistillPlan, out: Path, begin: Begin, callbacks: Sequence[TrainerCallback]) -> Distilled:
    begin, play = begin if is_main() else silently, playing(plan)
    plan.train.arguments(str(out))  # what TRL refuses is said before rows are written
    for r in range(plan.rounds.count + 1):
        with processes().main_process_first():  # one writes rows, the others find them
            write(plan, out, begin, r)
            folder = home(out, r) / TRAINING
            claim(folder / PLAN, plan.about_training, begun(folder))
        model, soft = base_model(plan), plan.label == "policy"
        watching, rows = (Bar(begin), *callbacks), _gathered(out, r)
        done = train(model.model, model.tokenizer, rows, plan.train, folder, play, soft, plan.served.model, watching)
    return Distilled(plan, out, done)


def _gathered(out: Path, r: int) -> tuple[Dataset, Dataset]:
    """The rows of all rounds so far."""
    found = [store.read(home(out, i) / DATA) for i in range(r + 1)]
    return concatenate_datasets([x[0] for x in found]), concatenate_datasets([x[1] for x in found])
