"""A folder of steering vectors: those that a plan fits, their controls, and the direction of time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icrl.agents import (
    Plays,
    collect,
    cosine,
    east,
    in_context,
    matched,
    mean_difference,
    principal,
    random_like,
    rescaled,
    shuffled,
    time_direction,
)
from icrl.agents.record import Step
from icrl.experiments.planned import is_of, keep, known
from icrl.experiments.progress import Begin
from icrl.experiments.sweep_plan import Fit, SteeringPlan
from icrl.models.controlvector import from_gguf
from icrl.models.steering import SteeringVector

PLAN, LAYERS = "plan.json", "layers"
TIME = "time"
CONTROLS = ("shuffled", "random", "permuted")
"""Kinds of vectors that mean nothing; their files have a number behind this."""


def place(out: Path, kind: str, layer: int | None) -> Path:
    """Where a vector lies; `layer`: None if it is for all of them."""
    return out / "vectors" / (f"{kind}.safetensors" if layer is None else f"{kind}-layer{layer}.safetensors")


def load(plan: SteeringPlan, out: Path, kind: str | None = None) -> list[SteeringVector]:
    """The vectors of a folder, the first layer first.

    Args:
        plan: Whose they are; they were fitted.
        out: The folder.
        kind: None for those that the plan fits.

    Raises:
        ValueError: One is missing.
    """
    whole = plan.fit.method == "in-context"
    layers = [None] if whole else list(range(known(out / PLAN)[LAYERS]))
    return [read(place(out, kind or plan.fit.method, layer)) for layer in layers]


def is_fitted(plan: SteeringPlan, out: Path) -> bool:
    """Whether a folder holds the plan's vectors.

    Raises:
        ValueError: It holds those of another plan.
    """
    return is_of(out / PLAN, plan.fitted_on)


def fit(plan: SteeringPlan, out: Path, begin: Begin) -> None:
    """Plays, and writes what is fitted, unless it is there.

    Raises:
        ValueError: Nothing can be fitted, or the folder holds the vectors of another plan.
    """
    if is_fitted(plan, out):
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"out: {out} cannot be made: {error}") from error
    agent, task = plan.fitting()
    agent.check(task.public)
    watch = begin("fit", plan.fit.episodes * (task.public.horizon or 0))

    def on_step(step: Step) -> None:
        watch(plan.fit.method, len(step.rows), 0)

    how = plan.fit.model_dump(include={"episodes", "draws", "estimator"})
    plays = collect(agent, task, seed=plan.seed, on_step=on_step, **how)
    own = fitted(plan.fit, plays)
    made = {plan.fit.method: own} | _controls(plan, plays, own)
    for kind, vectors in made.items():
        for vector in vectors:
            vector.save(place(out, kind, None if plan.fit.method == "in-context" else vector.layer))
    keep(out / PLAN, {**plan.fitted_on, LAYERS: len(own)})  # last: now all of it is there


def fitted(how: Fit, plays: Plays) -> Sequence[SteeringVector]:
    """A vector for each layer, or one for all."""
    if how.method == "east":
        return east(plays, how.centre)
    pairs = matched(plays)
    if how.method == "in-context":
        return [in_context(pairs)]
    return principal(pairs) if how.method == "principal" else mean_difference(pairs)


def _controls(plan: SteeringPlan, plays: Plays, own: Sequence[SteeringVector]) -> dict[str, Sequence[SteeringVector]]:
    """Vectors as long as their own that mean nothing, and the direction of time."""
    made: dict[str, Sequence[SteeringVector]] = {} if plan.fit.method == "in-context" else {TIME: time_direction(plays)}
    for seed in range(1, plan.sweep.controls + 1):
        refit = fitted(plan.fit, plays.permuted(seed))
        made[f"shuffled-{seed}"] = [shuffled(vector, seed) for vector in own]
        made[f"random-{seed}"] = [random_like(vector, seed) for vector in own]
        made[f"permuted-{seed}"] = [rescaled(other, vector) for other, vector in zip(refit, own, strict=True)]
    return made


def read(path: Path) -> SteeringVector:
    """A vector of any file that can be read here.

    Raises:
        ValueError: There is no such file, or no vector in it.
    """
    if not path.expanduser().is_file():
        raise ValueError(f"steering: there is no file {str(path)!r}")
    return from_gguf(path) if path.suffix == ".gguf" else SteeringVector.load(path)


def along_time(plan: SteeringPlan, out: Path) -> list[float]:
    """The cosine of each layer's vector with the direction in which activations move from step to step.

    EAST's confound: entropy falls with the step, and activations move with it. None of a vector for all layers.
    """
    if plan.fit.method == "in-context":
        return []
    return [cosine(own, time) for own, time in zip(load(plan, out), load(plan, out, TIME), strict=True)]
