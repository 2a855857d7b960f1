"""How far each vector moves the policy's entropy, at prompts that the unsteered model has met."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from steered.common import FIT, GRID, HARD, PERMUTED, RAW, agent, fitted, llm, on, vectors

import icrl
from icrl import agents
from icrl.agents import Steering
from icrl.models import SteeringVector

RELATIVE = (-0.4, -0.2, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
STRONG = (0.1, 0.2, 0.4, 0.8)
EPISODES, DRAWS, LEAST_MASS, THOUGHTS = 40, 10, 0.95, 4
THOUGHT = replace(RAW, answer="thought", max_thought=96)
"""Of the steps of EPISODES episodes, all are looked at."""


def layers() -> dict[str, Any]:
    """EAST behind each layer."""
    history = icrl.rollout(agent(), icrl.make(HARD), episodes=EPISODES, seed=GRID)
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
    history = icrl.rollout(agent(), icrl.make(HARD), episodes=EPISODES, seed=GRID)
    east = vectors("EAST")[layer]
    named = {
        name: vectors(name)[layer]
        for name in (
            *("EAST", "EAST, run and step", "EAST without time", "EAST, global", "time", "mean difference"),
            *("principal", "advice pairs", "EAST, two Gaussian arms", "EAST, two Bernoulli arms"),
        )
    }
    found = {name: _along(history, vector, STRONG) | _told(vector, east) for name, vector in named.items()}
    found["EAST, minus"] = _along(history, east, tuple(-x for x in STRONG))
    for kind, make in {"shuffled": agents.shuffled, "random": agents.random_like}.items():
        for seed in range(DRAWS):
            found[f"{kind} {seed}"] = _along(history, make(east, seed), STRONG)
    for seed in range(PERMUTED):
        found[f"permuted {seed}"] = _along(history, vectors(f"permuted {seed}")[layer], STRONG)
    (whole,) = vectors("in-context")
    found["in-context"] = {
        f"{positions} {x}": _mean(on(history, agent(Steering(whole, x, positions))))
        for positions in ("all", "east")
        for x in (0.05, 0.1, 0.2)
    }
    return found


@dataclass(frozen=True)
class Averaged(icrl.LLMAgent):
    """Its policy is the mean over several thoughts at the same prompt."""

    def decide(self, asked: Any) -> Any:
        """The first answer, with the mean policy and mass."""
        drawn = [super(Averaged, self).decide(replace(asked, draw=i)) for i in range(THOUGHTS)]
        probs, mass = (np.mean([getattr(choice, name) for choice in drawn], axis=0) for name in ("probs", "mass"))
        return replace(drawn[0], probs=probs, mass=mass)


def thoughts(layer: int) -> dict[str, Any]:
    """EAST fitted and applied where a thought stands before each answer: the mean policy of several thoughts."""
    task, player = icrl.make(HARD, horizon=12), Averaged(llm(), THOUGHT)
    history = icrl.rollout(icrl.LLMAgent(llm(), THOUGHT), task, episodes=16, seed=GRID)
    thinking = icrl.LLMAgent(llm(), THOUGHT)
    own = fitted("EAST, thoughts", lambda: agents.fit_east(thinking, task, episodes=32, seed=FIT, draws=THOUGHTS))[
        layer
    ]
    direct = vectors("EAST")[layer]
    tried = {f"thoughts {x}": (own, x) for x in (-0.4, 0.2, 0.4, 0.8)}
    tried |= {f"direct {x}": (direct, x) for x in (0.4, 0.8)}
    tried |= {
        f"{make.__name__} {x}": (make(own, 0), x) for make in (agents.shuffled, agents.random_like) for x in (0.4,)
    }
    found: dict[str, Any] = {"unsteered": _mean(on(history, player)), "cosine": agents.cosine(own, direct)}
    for name, (vector, x) in tried.items():
        found[name] = _mean(on(history, replace(player, steering=Steering(vector, vector.strength(x)))))
    return found


def _along(history: Any, vector: SteeringVector, strengths: tuple[float, ...]) -> dict[str, Any]:
    """By relative strength."""
    players = {str(x): agent(Steering(vector, vector.strength(x))) for x in strengths}
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
