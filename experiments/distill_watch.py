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
from icrl.envs.regret import final_regret
from icrl.envs.spec import placed
from icrl.experiments.distill_measures import MEASURES
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.distill_splits import Split, in_distribution
from icrl.experiments.progress import Begin
from icrl.finetune.looks import Play, Played, at_play
from icrl.models.load import load_window
from icrl.prompts import Pieces
from icrl.prompts.bounds import longest
from icrl.prompts.chat import Chat
from icrl.prompts.writer import Writer

PATIENCE = timedelta(days=1)
"""For which processes wait while one of them writes rows, and the model plays."""
SHOWN = {"rewards/earned_per_step/mean": "earned", "loss": "loss"}
"""What of a log the bar tells: of reinforcement what was earned, as its loss is about 0 by construction."""


class Bar(TrainerCallback):  # type: ignore[misc]  # transformers counts as untyped
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


def _check_window(plan: DistillPlan, split: Split) -> None:
    """Raises ValueError for a task that the model could not read to its end."""
    served, tokenizer = plan.served, plan.served.tokenizer()
    most = longest(Writer(split.prompt, split.task.public, Pieces(tokenizer), Chat.of(tokenizer, split.prompt.thinks)))
    if most > (window := load_window(served.model, served.revision, tokenizer)):
        raise ValueError(
            f"prompt: at t={split.task.public.horizon} it may be {most} tokens long, but the window of {served.model} "
            f"is {window}; use a shorter horizon"
        )


def playing(plan: DistillPlan) -> Play:
    """How a model in training is looked at: its regret as a share of uniform play's, on luck of the looks.

    Raises:
        ValueError: The task cannot be judged by, or the teacher cannot play it.
    """
    split = in_distribution(plan)  # not with the labels that the evaluation is to be the first to show
    luck: dict[str, Any] = {"episodes": plan.evaluate.looks, "seed": plan.evaluate.seed + 1}
    if split.task.public.slots > 1 or split.task.public.trials > 1:
        raise ValueError(
            "evaluate.task: students are judged in episodes of one game with one arm per step; of duels and of several "
            "games icrl distill-data writes rows, with label: taken"
        )
    blind = rollout(Uniform(), split.task, **luck)
    if not (blindly := final_regret(blind).mean()) > 0:
        raise ValueError("evaluate.task: states of the model are compared by their regret, and the task tells none")
    with placed("evaluate.task"):  # all that the evaluation will need, before anything is trained
        for measure in MEASURES.values():
            measure(blind)
        if (teacher := plan.teaches()) is not None:
            teacher.check(split.task.public)
        _check_window(plan, split)

    def play(trained: Any, tokenizer: Any) -> Played:
        with at_play(trained, tokenizer) as player:
            runs = rollout(LLMAgent(player, split.prompt), split.task, **luck)
        mass = 1.0 if runs.mass is None else float(np.nanmean(runs.mass))  # unknown where the model wrote freely
        return Played((final_regret(runs) / blindly).tolist(), mass)

    return play
