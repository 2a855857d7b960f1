"""Table 9: what pocket was not trained on, beside what it was."""

from __future__ import annotations

from typing import Any

import numpy as np

import icrl
from card.common import RAW, each, played
from icrl import metrics
from icrl.envs import Bandit, Gaussian, NormalMeans, UniformMeans
from icrl.envs.types import Floats
from icrl.experiments.bootstrap import interval
from icrl.finetune.heldout import held_out
from icrl.prompts import Prompt

COINS, NUMBERS = "K = 5, T = 100", "Gaussian rewards, sd 2"
"""What it was trained on, to which the others are compared."""


def tasks() -> dict[str, tuple[Any, Prompt]]:
    """By what is new."""
    coins = Bandit(n_arms=5, horizon=100, means=UniformMeans())
    numbers = {
        f"Gaussian rewards, sd {sd:g}": (
            Bandit(n_arms=5, horizon=100, means=NormalMeans(sd=sd), noise=Gaussian(sd=sd)),
            RAW,
        )
        for sd in (2.0, 4.0)
    }
    return {
        COINS: (coins, RAW),
        "a scenario held out": (coins, Prompt(scenario="ads", labels=held_out("ads"))),
        "K = 7": (coins.model_copy(update={"n_arms": 7}), RAW),
        "K = 15": (coins.model_copy(update={"n_arms": 15}), RAW),
        "T = 300": (coins.model_copy(update={"horizon": 300}), RAW),
        "T = 1,000": (coins.model_copy(update={"horizon": 1000}), RAW),
        **numbers,
    }


def elsewhere(model: Any, episodes: int) -> dict[str, dict[str, float]]:
    """Regret as a share of Uniform's, beside Greedy's; `episodes` of 100 steps, and fewer where they are longer."""
    found = dict[str, dict[str, float]]()
    for name, (task, prompt) in each(tasks().items(), "elsewhere"):
        n = max(32, episodes * 100 // task.horizon)
        agents = {"pocket": icrl.LLMAgent(model, prompt), "greedy": icrl.Greedy(), "blind": icrl.Uniform()}
        runs = {player: played(agent, task, n) for player, agent in agents.items()}
        regret = {player: metrics.final_regret(own) for player, own in runs.items()}
        share, low, high = interval(_share, regret["pocket"], regret["blind"])
        base = found.get(NUMBERS if name.startswith("Gaussian") else COINS, {"pocket": share})
        mass = runs["pocket"].mass
        assert mass is not None
        found[name] = {
            "pocket": share,
            "low": low,
            "high": high,
            "to base": share / base["pocket"],
            "Greedy": float(regret["greedy"].mean() / regret["blind"].mean()),
            "mass": float(mass.mean()),
            "episodes": n,
        }
    return found


def _share(own: Floats, blind: Floats, axis: int) -> Floats:
    return np.asarray(own.mean(axis=axis) / blind.mean(axis=axis))
