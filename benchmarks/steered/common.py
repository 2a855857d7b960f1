"""What all parts of the study share: the model, its labels, the vectors, and how play is described."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import entr

import icrl
from icrl import agents, metrics
from icrl.envs import Episodes
from icrl.finetune.heldout import held_out
from icrl.models import SteeringVector
from icrl.prompts import Prompt

FIT, CALIBRATE, PLAY = 11, 22, 2026
"""Seeds: of the play that vectors are fitted on, of what strengths are found on, and of what is reported."""
RUNS = 65
"""Episodes of a fit, as in the paper."""
RAW = Prompt(labels=held_out("buttons"))
HARD, EASY = "bernoulli-hard", "bernoulli-easy"
KEPT = Path(__file__).resolve().parents[2] / "runs" / "steering"
"""Vectors, once fitted; the plays they come from take as long as the rest of a part."""


@cache
def llm() -> Any:
    """The model, once per process."""
    return icrl.load_model("pocket")


def agent(steering: Any = None, prompt: Prompt = RAW, temperature: float = 1.0) -> icrl.LLMAgent:
    """The player of the study."""
    return icrl.LLMAgent(llm(), prompt, temperature, steering)


def fitted(name: str, fit: Any) -> tuple[SteeringVector, ...]:
    """Vectors by a name, fitted unless they are kept."""
    folder = KEPT / name
    if found := sorted(folder.glob("*.safetensors")):
        return tuple(SteeringVector.load(path) for path in found)
    vectors = fit()
    for i, vector in enumerate(vectors):
        vector.save(folder / f"{i:02}.safetensors")
    return tuple(vectors)


@cache
def plays() -> Any:
    """The model's own play on the hard task, to fit on."""
    return agents.collect(agent(), icrl.make(HARD), episodes=RUNS, seed=FIT)


@cache
def vectors(method: str) -> tuple[SteeringVector, ...]:
    """The vectors of a method, one per layer; of `in-context` one for all."""
    return fitted(method, FITS[method])


def _pairs() -> Any:
    return agents.matched(plays())


def _advised() -> tuple[SteeringVector, ...]:
    """The same histories with and without advice to explore."""
    more, less = replace(RAW, instructions="advice"), RAW
    return agents.mean_difference(agents.prompt_pairs(agent(), icrl.make(HARD), more, less, episodes=RUNS, seed=FIT))


def _two_arms(reward: str) -> tuple[SteeringVector, ...]:
    """Of two arms of equal means, the paper's task: Gaussian (100, 100) of sd 10, or Bernoulli of 1/2."""
    noise = {"kind": "gaussian", "sd": 10.0} if reward == "gaussian" else {"kind": "bernoulli"}
    mean = 100.0 if reward == "gaussian" else 0.5
    task = icrl.make(HARD, n_arms=2, horizon=50, means={"kind": "fixed", "values": [mean, mean]}, noise=noise)
    return agents.fit_east(agent(), task, episodes=RUNS, seed=FIT)


FITS: dict[str, Any] = {
    "EAST": lambda: agents.east(plays()),
    "EAST, run and step": lambda: agents.east(plays(), "run+time"),
    "EAST, global": lambda: agents.east(plays(), "global"),
    "time": lambda: agents.time_direction(plays()),
    "EAST without time": lambda: tuple(map(agents.without, vectors("EAST"), vectors("time"))),
    "mean difference": lambda: agents.mean_difference(_pairs()),
    "principal": lambda: agents.principal(_pairs()),
    "in-context": lambda: (agents.in_context(_pairs()),),
    "advice pairs": _advised,
    "permuted": lambda: agents.east(plays().permuted(1)),
    "EAST, two Gaussian arms": lambda: _two_arms("gaussian"),
    "EAST, two Bernoulli arms": lambda: _two_arms("bernoulli"),
}


def strength_of(vector: SteeringVector, relative: float) -> float:
    """The strength that is so much of the residual stream's length."""
    return relative * vector.origin.residual / vector.norm


def entropies(runs: Episodes) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[B, T] nats."""
    return metrics.action_entropy(runs)


def on(history: Episodes, player: icrl.LLMAgent) -> dict[str, Any]:
    """A player's policy at all prompts of a history that another played: [B, T] entropy and label mass."""
    choices = list(agents.replay(player, history))
    policy = np.stack([choice.probs[:, 0] for choice in choices], axis=1)
    mass = np.stack([choice.mass[:, 0] for choice in choices], axis=1)
    return {"entropy": entr(policy).sum(axis=2), "mass": mass}


def described(runs: Episodes) -> dict[str, float]:
    """The measures of a run."""
    found = {
        "regret": metrics.final_regret(runs).mean(),
        "suffix failure": metrics.suffix_failure(runs).mean(),
        "switch rate": metrics.switch_rate(runs).mean(),
        "entropy": np.nanmean(entropies(runs)) if runs.probs is not None else float("nan"),
        "mass": float("nan") if runs.mass is None else np.nanmean(runs.mass),
    }
    return {name: float(value) for name, value in found.items()}
