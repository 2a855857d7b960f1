"""How a training is watched: its bar, its play, and which of several processes tells."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from transformers import TrainerCallback

from icrl.agents import LLMAgent, Uniform, rollout
from icrl.experiments.config import build_task
from icrl.experiments.distill_parts import judged, scaled
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.progress import Begin
from icrl.finetune.heldout import trained
from icrl.finetune.looks import ERROR, MASS, REGRET, at_play
from icrl.models.hf import TransformersModel

PATIENCE = timedelta(days=1)
"""For which processes wait while one of them writes rows, and the model plays."""
SHOWN = {"rewards/earned_per_step/mean": "earned", "loss": "loss"}
"""What of a log the bar tells: of reinforcement what was earned, as its loss is about 0 by construction."""


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
        logs = (
            f"{name} {entry[key]:.3g}"
            for entry in reversed(state.log_history)
            for key, name in SHOWN.items()
            if key in entry
        )
        self.watch(next(logs, ""), state.global_step - self.done, 0)
        self.done = state.global_step


def is_main() -> bool:
    """Whether this process is the one that tells and writes, of several that `accelerate launch` has begun."""
    return bool(processes().is_main_process)


def processes() -> PartialState:
    """Those that train together; without an accelerator they must be told that they run on the CPU."""
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)


def silently(title: str, steps: int) -> Callable[[str, int, int], None]:
    """Shows nothing; a `Begin`."""
    return lambda name, done, tokens: None


def playing(plan: DistillPlan, model: TransformersModel) -> Callable[[Any], dict[str, float]]:
    """How a model in training is looked at: its regret as a share of uniform play's, on luck of the looks.

    Raises:
        ValueError: The task does not tell its regret.
    """
    judge = plan.evaluate
    task = scaled(build_task(judge.task), judge.scale)
    luck: dict[str, Any] = {"episodes": judge.looks, "seed": judge.seed + 1}
    blindly = np.nansum(rollout(Uniform(), task, **luck).gap) / judge.looks
    if not blindly > 0:
        raise ValueError(f"evaluate.task: states of the model are compared by their regret, and {task!r} tells none")
    words = plan.data.prompt.get("labels", trained())  # not those that the evaluation is to be the first to show
    prompt = judged({"labels": words} | plan.judged_by, task)

    def play(trained: Any) -> dict[str, float]:
        with at_play(trained, model.tokenizer) as player:
            runs = rollout(LLMAgent(player, prompt), task, **luck)
        assert runs.mass is not None
        shares = np.nansum(runs.gap, axis=1) / blindly
        error = shares.std() / len(shares) ** 0.5
        return {REGRET: float(shares.mean()), ERROR: float(error), MASS: float(np.nanmean(runs.mass))}

    return play
