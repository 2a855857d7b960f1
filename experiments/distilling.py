"""From a plan to an adapter: rows, training, rounds; each is done once, and what was interrupted goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset, concatenate_datasets
from transformers import TrainerCallback

from icrl.agents import LLMAgent, Uniform, rollout
from icrl.envs.spec import checked
from icrl.experiments.config import build_task
from icrl.experiments.distill_data import DATA, PLAN, Rows
from icrl.experiments.distill_data import write as write_rows
from icrl.experiments.distill_plan import DistillPlan, judged, scaled
from icrl.experiments.planned import is_of, keep
from icrl.experiments.progress import Begin, bars
from icrl.finetune import data as store
from icrl.finetune.heldout import trained
from icrl.finetune.looks import ERROR, MASS, REGRET
from icrl.finetune.running import Trained, fills, kept_in
from icrl.finetune.sft import train
from icrl.models import Model
from icrl.models.adapters import CONFIG
from icrl.models.hf import TransformersModel
from icrl.models.load import load_base, load_window

TRAINING = "training"
PATIENCE = timedelta(days=1)
"""For which processes wait while one of them writes rows, and the model plays."""


@dataclass(frozen=True)
class Distilled:
    """What came of a plan."""

    plan: DistillPlan
    folder: Path
    trained: Trained
    """Of the last round."""


class Telling(TrainerCallback):  # type: ignore[misc]  # transformers counts as untyped
    """Moves a progress bar."""

    def __init__(self, begin: Begin) -> None:
        self.begin, self.done = begin, 0
        self.watch: Callable[[str, int, int], None] = lambda name, done, tokens: None

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Says how many steps there are."""
        self.watch = self.begin("training", state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Says how many are done."""
        loss = next((entry["loss"] for entry in reversed(state.log_history) if "loss" in entry), None)
        self.watch("" if loss is None else f"loss {loss:.3g}", state.global_step - self.done, 0)
        self.done = state.global_step


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
        ValueError: The folder is of another plan, or something of the plan cannot be done.
    """
    given, folder = as_plan(plan), Path(out).expanduser()
    if begin is not None:
        return _distilled(given, folder, begin, callbacks)
    with bars() as shown:
        return _distilled(given, folder, shown, callbacks)


def is_main() -> bool:
    """Whether this process is the one that tells and writes, of several that `accelerate launch` has begun."""
    return bool(processes().is_main_process)


def processes() -> PartialState:
    """Those that train together; without an accelerator they must be told that they run on the CPU."""
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)


def silently(title: str, steps: int) -> Callable[[str, int, int], None]:
    """Shows nothing; a `Begin`."""
    return lambda name, done, tokens: None


def as_plan(plan: DistillPlan | str | Path | Mapping[str, Any]) -> DistillPlan:
    """A plan of whatever stands for one."""
    if isinstance(plan, str | Path):
        return DistillPlan.load(plan)
    return plan if isinstance(plan, DistillPlan) else checked(DistillPlan, dict(plan))


def home(out: Path, r: int) -> Path:
    """The folder of a round; that of the first one is the plan's."""
    return out / f"round-{r}" if r else out


def trained_in(plan: DistillPlan, out: Path, r: int) -> Path:
    """Where a round's adapter, or whole model, lies."""
    return kept_in(home(out, r) / TRAINING, plan.train.full)


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
    about, seed = plan.about_data, plan.data.seed
    rows = Rows(plan.syllabus(tokenizer, model), tokenizer, window, plan.data.decisions, about, model is not None, seed)
    return write_rows(plan, rows, out, begin)


def _distilled(plan: DistillPlan, out: Path, begin: Begin, callbacks: Sequence[TrainerCallback]) -> Distilled:
    begin = begin if is_main() else silently
    for r in range(plan.rounds.count + 1):
        with processes().main_process_first():  # one writes rows, the others find them
            write(plan, out, begin, r)
            folder = home(out, r) / TRAINING
            if not is_of(folder / PLAN, plan.about_training):
                keep(folder / PLAN, plan.about_training)
        model, soft = base_model(plan), plan.label == "policy"
        watching, play = (Telling(begin), *callbacks), playing(plan, model)
        rows = _gathered(out, r)
        done = train(model.model, model.tokenizer, rows, plan.train, folder, play, soft, plan.served.model, watching)
    return Distilled(plan, out, done)


def _gathered(out: Path, r: int) -> tuple[Dataset, Dataset]:
    """The rows of all rounds so far."""
    found = [store.read(home(out, i) / DATA) for i in range(r + 1)]
    return concatenate_datasets([x[0] for x in found]), concatenate_datasets([x[1] for x in found])


def playing(plan: DistillPlan, model: TransformersModel) -> Callable[[Any], dict[str, float]]:
    """How a model in training is looked at: its regret as a share of uniform play's, on luck of the looks."""
    judge = plan.evaluate
    task = scaled(build_task(judge.task), judge.scale)
    luck: dict[str, Any] = {"episodes": judge.looks, "seed": judge.seed + 1}
    blindly = np.nansum(rollout(Uniform(), task, **luck).gap) / judge.looks
    words = plan.data.prompt.get("labels", trained())  # not those that the evaluation is to be the first to show
    prompt = judged({"labels": words} | plan.judged_by, task)

    def play(trained: Any) -> dict[str, float]:
        training = trained.training
        served: Model = TransformersModel("training", trained.eval(), model.tokenizer)
        runs = rollout(LLMAgent(served, prompt), task, **luck)
        trained.train(training)
        assert runs.mass is not None
        shares = np.nansum(runs.gap, axis=1) / blindly
        error = shares.std() / len(shares) ** 0.5
        return {REGRET: float(shares.mean()), ERROR: float(error), MASS: float(np.nanmean(runs.mass))}

    return play


def student(plan: DistillPlan, folder: Path, base: TransformersModel | None = None) -> TransformersModel:
    """The model as a training has left it; an adapter shares the weights of `base`, if that is loaded already."""
    if (folder / CONFIG).is_file():
        return (base or base_model(plan)).adapted(str(folder))
    return _loaded(str(folder), plan, {"dtype", "device_map"})


def base_model(plan: DistillPlan) -> TransformersModel:
    """The model that is trained."""
    return _loaded(
        plan.served.model, plan, {"revision", "dtype", "device_map", "chat_template"}, plan.train.quantization
    )


def _loaded(
    name: str, plan: DistillPlan, fields: set[str], quantization: Mapping[str, Any] | None = None
) -> TransformersModel:
    """A model of transformers, as plans have no others, with some of the fields of the plan's."""
    found = load_base(name, **plan.served.model_dump(include=fields), quantization=quantization or None)
    assert isinstance(found, TransformersModel)
    return found
