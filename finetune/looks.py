"""Looks at how a model plays while it is trained, and which of its states is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from icrl.models.hf import TransformersModel

REGRET, EACH, MASS = "regret", "regrets", "mass"
LEAST = 0.9
"""Mass on the labels, on average, of a state that may be kept: of a model that would say something else, the regret
among labels says little."""


@dataclass(frozen=True)
class Played:
    """How a model played."""

    regrets: Sequence[float]
    """Of each episode, the same ones at every look, so that looks are compared episode by episode."""
    mass: float = 1.0
    """Of the labels, on average."""


Play = Callable[[Any, Any], Played]
"""Lets a model with its tokenizer play."""


@contextmanager
def at_play(trained: Any, tokenizer: Any) -> Iterator[TransformersModel]:
    """A model in training as one that plays; then it goes on in the mode that it was in."""
    training = trained.training
    try:
        yield TransformersModel("training", trained.eval(), tokenizer)
    finally:
        trained.train(training)


class Looking(TrainerCallback):  # type: ignore[misc]  # transformers counts as untyped
    """Lets the model play so many times, the last one at the end, and logs what is measured."""

    def __init__(self, trainer: Trainer, number: int, play: Play) -> None:
        self.trainer, self.number, self.play = trainer, number, play

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> TrainerControl:
        every = -(-state.max_steps // self.number)
        if state.global_step % every == 0 or state.global_step == state.max_steps:
            logs = control.should_log
            # In each process, as they would have to wait for it.
            played = self.play(given["model"], given["processing_class"])
            self.trainer.log({REGRET: float(np.mean(played.regrets)), MASS: played.mass})
            state.log_history[-1][EACH] = list(played.regrets)  # no scalar, so nobody else is told
            control.should_log = logs  # which a log takes back, and with it the loss of this step
            control.should_save, control.should_evaluate = True, self.trainer.eval_dataset is not None
        return control


@dataclass(frozen=True)
class Look:
    """One state of the model in training."""

    step: int
    loss: float | None
    """On rows that it is not trained on; None where there are none."""
    regrets: Sequence[float]
    """Of each episode."""
    mass: float = 1.0
    """Of the labels, on average."""

    @property
    def regret(self) -> float:
        """The mean."""
        return float(np.mean(self.regrets))

    @property
    def error(self) -> float:
        """Its standard error over episodes."""
        return _error(self.regrets)

    @property
    def numbers(self) -> dict[str, float | None]:
        """All of it but the single episodes."""
        return {name: getattr(self, name) for name in ("step", "loss", "regret", "error", "mass")}


def looks(history: Sequence[Mapping[str, Any]]) -> list[Look]:
    """The states of which regret is known, and loss where rows are held back, of a trainer's log."""
    losses = {entry["step"]: float(entry["eval_loss"]) for entry in history if "eval_loss" in entry}
    played = {entry["step"]: entry for entry in history if EACH in entry}
    return [
        Look(step, losses.get(step), entry[EACH], float(entry[MASS]))
        for step, entry in played.items()
        if step in losses or not losses
    ]


def best(found: Sequence[Look]) -> Look:
    """The one with the least regret: a lower loss need not play better (Lambert et al. 2020, arXiv 2002.04523).

    Of those whose regret cannot be told from the least, by two standard errors of the paired difference, it is the one
    with the lowest loss, if that is known. States with less mass on the labels than LEAST are left out; if there are no
    others, it is the one with most.
    """
    able = [look for look in found if look.mass >= LEAST] or [max(found, key=lambda look: look.mass)]
    least = min(able, key=lambda look: look.regret)
    tied = [(look.loss, look) for look in able if not _more(look, least)]
    known = [(loss, look) for loss, look in tied if loss is not None]
    return min(known, key=lambda pair: pair[0])[1] if known else least


def _more(look: Look, least: Look) -> bool:
    """Whether it has more regret than the one with the least."""
    apart = np.subtract(look.regrets, least.regrets)
    return bool(apart.mean() > 2 * _error(apart))


def _error(values: Any) -> float:
    return float(np.std(values) / len(values) ** 0.5)


def rank_correlation(found: Sequence[Look]) -> float | None:
    """Of loss and regret over the states (Spearman); None where it is not known."""
    losses, regrets = [look.loss for look in found if look.loss is not None], [look.regret for look in found]
    if len(losses) < len(found) or len(set(losses)) < 2 or len(set(regrets)) < 2:
        return None
    return float(spearmanr(losses, regrets).statistic)
