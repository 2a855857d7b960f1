"""What all parts of the study share: the model, its labels, the vectors, and how play is described."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.special import entr

import icrl
from icrl import agents, metrics
from icrl.envs import Episodes
from icrl.finetune.heldout import held_out
from icrl.models import SteeringVector
from icrl.prompts import Prompt

FIT, CALIBRATE, GRID, PLAY, LATER = 11, 22, 33, 2026, 44
"""Seeds: of what vectors are fitted on, of what strengths are found on, of the prompts of grids, and of play."""
PERMUTED = 10
RUNS = 65
"""Episodes of a fit, as in the paper."""
RAW = Prompt(labels=held_out("buttons"))
HARD, EASY = "bernoulli-hard", "bernoulli-easy"


@cache
def llm() -> Any:
    """The model, once per process."""
    return icrl.load_model("pocket")


def agent(steering: Any = None, prompt: Prompt = RAW, temperature: float = 1.0) -> icrl.LLMAgent:
    """The player of the study."""
    return icrl.LLMAgent(llm(), prompt, temperature, steering)


def kept() -> Path:
    """The folder of vectors and episodes of this model."""
    folder = Path(__file__).resolve().parents[2] / "runs" / "steering" / str(llm().facts["revision"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fitted(name: str, fit: Any) -> tuple[SteeringVector, ...]:
    """Vectors by a name, fitted unless they are kept: the play that they come from takes a while."""
    folder = kept() / name
    if not folder.is_dir():
        with TemporaryDirectory(dir=kept()) as at:
            for i, vector in enumerate(fit()):
                vector.save(Path(at) / "vectors" / f"{i:02}.safetensors")
            (Path(at) / "vectors").rename(folder)
    return tuple(SteeringVector.load(path) for path in sorted(folder.glob("*.safetensors")))


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


def _permuted(seed: int) -> tuple[SteeringVector, ...]:
    return agents.east(plays().permuted(seed))


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
    "EAST, two Gaussian arms": lambda: _two_arms("gaussian"),
    "EAST, two Bernoulli arms": lambda: _two_arms("bernoulli"),
    **{f"permuted {seed}": partial(_permuted, seed) for seed in range(PERMUTED)},
}


def on(history: Episodes, player: icrl.LLMAgent) -> dict[str, Any]:
    """A player's policy at all prompts of a history that another played: [B, T] entropy and label mass."""
    choices = list(agents.replay(player, history))
    policy = np.stack([choice.probs[:, 0] for choice in choices], axis=1)
    mass = np.stack([choice.mass[:, 0] for choice in choices], axis=1)
    return {"entropy": entr(policy).sum(axis=2), "mass": mass}


def described(runs: Episodes) -> dict[str, float]:
    """The measures of a run."""
    entropy = np.nanmean(metrics.action_entropy(runs), axis=1)
    found = {
        "regret": metrics.final_regret(runs).mean(),
        "suffix failure": metrics.suffix_failure(runs).mean(),
        "switch rate": metrics.switch_rate(runs).mean(),
        "entropy": entropy.mean(),
        "entropy, half of its interval": 1.96 * entropy.std(ddof=1) / len(runs) ** 0.5,
        "mass": float("nan") if runs.mass is None else np.nanmean(runs.mass),
    }
    return {name: float(value) for name, value in found.items()}
