"""What a sweep tries: steered agents, the baselines, and the controls, as agents of an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from icrl.agents import UCB, LinUCB
from icrl.experiments import vectors
from icrl.experiments.config import build_task
from icrl.experiments.sweep_plan import SteeringPlan
from icrl.models.steering import SteeringVector

UNSTEERED, MINUS = "unsteered", "minus"
DIGITS = 4
"""Of a strength that is found from a relative one."""


@dataclass(frozen=True)
class Setting:
    """Something that is tried: an agent, or a few that differ in the seed of a control only.

    Attributes:
        kind: The plan's method, `unsteered`, a baseline (`temperature`, `epsilon`, `hints`) or a control (`minus`,
            `shuffled`, `random`, `permuted`).
        agents: Their fields in an experiment file, by name.
        level: The number in the plan: a relative strength, a strength, a temperature, an epsilon.
        layer: Behind which the vector is added; None for all, or where there is none.
        strength: Of the vector.
        relative: That strength in units of the residual stream.
    """

    kind: str
    agents: Mapping[str, dict[str, Any]] = field(repr=False)
    level: float = np.nan
    layer: int | None = None
    strength: float = np.nan
    relative: float = np.nan


def baselines(plan: SteeringPlan) -> list[Setting]:
    """The agent unsteered; and warmer, with random choices, and with hints."""
    agent, tried = plan.agent, plan.sweep
    found = [Setting(UNSTEERED, {UNSTEERED: agent})]
    for t in tried.temperatures:
        found.append(Setting("temperature", {f"temperature {t}": agent | {"temperature": t}}, t))
    for e in tried.epsilons:
        found.append(Setting("epsilon", {f"epsilon {e}": {"type": "EpsilonMix", "agent": agent, "epsilon": e}}, e))
    if tried.hints and (adviser := _adviser(plan)):
        found.append(Setting("hints", {"hints": agent | {"prompt": _prompt(plan) | {"hints": adviser}}}))
    return found


def _adviser(plan: SteeringPlan) -> str | None:
    """The algorithm whose hints are a baseline; there is none for every task."""
    public = build_task(plan.task).public
    adviser = LinUCB() if public.context_dim else UCB()
    return type(adviser).__name__ if adviser.refuses(public) is None else None


def _prompt(plan: SteeringPlan) -> dict[str, Any]:
    """The fields of the agent's prompt."""
    given = plan.agent.get("prompt", {})
    return {"preset": given} if isinstance(given, str) else given


def grid(plan: SteeringPlan, out: Path) -> list[Setting]:
    """Each strength at each layer.

    Raises:
        ValueError: The model has not all of the layers.
    """
    own = vectors.load(plan, out)
    layers = [None] if plan.fit.method == "in-context" else plan.layers(len(own))
    tried = [(layer, own[layer or 0], level) for layer in layers for level in _levels(plan)]
    return [_setting(plan, out, plan.fit.method, layer, vector, level) for layer, vector, level in tried]


def controls(plan: SteeringPlan, out: Path, layer: int | None) -> list[Setting]:
    """Each strength at one layer, for the vector's contrary and for vectors as long as it that mean nothing."""
    vector, kinds = vectors.load(plan, out)[layer or 0], (MINUS, *vectors.CONTROLS) if plan.sweep.controls else ()
    return [_setting(plan, out, kind, layer, vector, level) for kind in kinds for level in _levels(plan)]


def _levels(plan: SteeringPlan) -> Sequence[float]:
    return plan.sweep.relative if plan.sweep.strengths is None else plan.sweep.strengths


def _setting(
    plan: SteeringPlan, out: Path, kind: str, layer: int | None, vector: SteeringVector, level: float
) -> Setting:
    """One strength of one kind of vector, as long as `vector`."""
    strength = _strength(plan, vector, level) * (-1 if kind == MINUS else 1)
    numbers = [f"-{seed}" for seed in range(1, plan.sweep.controls + 1)] if kind in vectors.CONTROLS else [""]
    where = "" if layer is None else f" layer {layer}"
    own = plan.fit.method if kind == MINUS else kind
    files = {f"{kind}{n}{where} at {level}": vectors.place(out, f"{own}{n}", layer) for n in numbers}
    agents = {name: plan.agent | {"steering": _steering(plan, path, strength)} for name, path in files.items()}
    return Setting(kind, agents, level, layer, strength, vector.relative(strength))


def _steering(plan: SteeringPlan, path: Path, strength: float) -> dict[str, Any]:
    """In-context vectors are meant for all positions."""
    where = {"positions": "all"} if plan.fit.method == "in-context" else {}
    return {"vector": str(path), "strength": strength} | where


def _strength(plan: SteeringPlan, vector: SteeringVector, level: float) -> float:
    """What a number of the plan is for a vector."""
    return level if plan.sweep.strengths is not None else float(f"{vector.strength(level):.{DIGITS}g}")
