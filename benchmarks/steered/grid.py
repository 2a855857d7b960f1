"""How far each vector moves the policy's entropy, at prompts that the unsteered model has met."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from steered.common import HARD, PLAY, RAW, agent, fitted, on, strength_of, vectors

import icrl
from icrl import agents
from icrl.agents import Steering
from icrl.models import SteeringVector

RELATIVE = (-0.4, -0.2, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
STRONG = (0.1, 0.2, 0.4, 0.8)
EPISODES, DRAWS, LEAST_MASS = 40, 10, 0.95
THOUGHT = replace(RAW, answer="thought", max_thought=96)
"""Of the steps of EPISODES episodes, all are looked at."""


def layers() -> dict[str, Any]:
    """EAST behind each layer."""
    history = icrl.rollout(agent(), icrl.make(HARD), episodes=EPISODES, seed=PLAY)
    found: dict[str, Any] = {"unsteered": _mean(on(history, agent()))}
    for vector in vectors("EAST"):
        found[str(vector.layer)] = _along(history, vector, RELATIVE)
    return found


def best(found: dict[str, Any]) -> int:
    """The layer at which the entropy rises furthest at a relative strength of 0.4, with enough label mass."""
    cells = {int(layer): row["0.4"] for layer, row in found.items() if layer != "unsteered"}
    able = [layer for layer, cell in cells.items() if cell["mass"] >= LEAST_MASS]
    return max(able, key=lambda layer: float(cells[layer]["entropy"]))


def relatives(layer: int) -> dict[str, Any]:
    """Other vectors behind one layer: relatives, controls, and EAST of other tasks and centrings."""
    history = icrl.rollout(agent(), icrl.make(HARD), episodes=EPISODES, seed=PLAY)
    east = vectors("EAST")[layer]
    named = {
        name: vectors(name)[layer]
        for name in (
            *("EAST", "EAST, run and step", "EAST without time", "EAST, global", "time", "mean difference"),
            *("principal", "advice pairs", "permuted", "EAST, two Gaussian arms", "EAST, two Bernoulli arms"),
        )
    }
    found = {name: _along(history, vector, STRONG) | _told(vector, east) for name, vector in named.items()}
    found["EAST, minus"] = _along(history, east, tuple(-x for x in STRONG))
    for kind, make in {"shuffled": agents.shuffled, "random": agents.random_like}.items():
        for seed in range(DRAWS):
            found[f"{kind} {seed}"] = _along(history, make(east, seed), STRONG)
    (whole,) = vectors("in-context")
    found["in-context"] = {
        f"{positions} {x}": _mean(on(history, agent(Steering(whole, x, positions))))
        for positions in ("all", "east")
        for x in (0.05, 0.1, 0.2)
    }
    return found


def thoughts(layer: int) -> dict[str, Any]:
    """EAST fitted and applied where a thought stands before each answer: entropy of the mean of 8 policies."""
    task, player = icrl.make(HARD, horizon=30), agent(prompt=THOUGHT)

    def entropy(steering: Steering | None) -> dict[str, float]:
        found = agents.collect(replace(player, steering=steering), task, episodes=16, seed=PLAY, draws=8)
        return {"entropy": float(found.entropy.mean())}

    own = fitted("EAST, thoughts", lambda: agents.fit_east(player, task, episodes=32, seed=3, draws=8))[layer]
    direct = vectors("EAST")[layer]
    found: dict[str, Any] = {"unsteered": entropy(None), "cosine": agents.cosine(own, direct)}
    for name, vector in {"thoughts": own, "direct": direct}.items():
        for x in (-0.4, 0.1, 0.2, 0.4, 0.8):
            found[f"{name} {x}"] = entropy(Steering(vector, strength_of(vector, x)))
    return found


def _along(history: Any, vector: SteeringVector, strengths: tuple[float, ...]) -> dict[str, Any]:
    """By relative strength."""
    players = {str(x): agent(Steering(vector, strength_of(vector, x))) for x in strengths}
    return {x: _mean(on(history, player)) for x, player in players.items()}


def _told(vector: SteeringVector, east: SteeringVector) -> dict[str, float]:
    time = vectors("time")[vector.layer]
    return {
        "norm": vector.norm,
        "cosine with EAST": agents.cosine(vector, east),
        "cosine with time": agents.cosine(vector, time),
    }


def _mean(found: dict[str, Any]) -> dict[str, float]:
    return {name: float(np.nanmean(cells)) for name, cells in found.items()}
