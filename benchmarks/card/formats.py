"""Gate 1: in each kind of prompt that pocket was trained on, the probability of the labels in question."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

import icrl
from card.common import RAW, TEACHING, UCB, WORDS, played, system
from icrl.agents import RUCB, LinUCB, Restarting
from icrl.prompts import Demonstrations, Hints, Prompt, Summary, Window


@cache
def formats() -> dict[str, tuple[Any, Prompt]]:
    """A task and a prompt of each kind."""
    coins, contexts = icrl.make("bernoulli-hard"), icrl.make("linear", n_arms=3, dim=2, horizon=50)
    short, chance = icrl.make("bernoulli-hard", horizon=15), icrl.ThompsonSampling()
    ten = icrl.make("bernoulli-hard", n_arms=10)
    duels, trials = icrl.make("dueling", horizon=60), icrl.make("trials")
    teacher = icrl.rollout(icrl.Greedy(), coins, episodes=32, seed=TEACHING)
    return {
        "raw": (coins, Prompt()),
        "raw, as a log": (coins, Prompt(layout="log")),
        "raw, slot machines": (coins, Prompt(scenario="slots")),
        "raw, clothes, advice, horizon told": (coins, Prompt("raw", "clothes", instructions="advice", horizon="told")),
        **{f"raw, {k} arms": (icrl.make("bernoulli-hard", n_arms=k), Prompt()) for k in (2, 8, 9, 10)},
        "raw, as a log, 10 arms": (ten, Prompt(layout="log")),
        "summary, 10 arms": (ten, Prompt("summary")),
        "hints: numbers, 10 arms": (ten, Prompt(hints=UCB)),
        **{f"raw, tag: {kind}": (coins, Prompt(**system(kind))) for kind in ("greedy", "optimistic", "random")},
        "summary": (coins, Prompt("summary")),
        "summary with spread and last rewards, as a log": (coins, Prompt(Summary(spread=True, last=2), layout="log")),
        "window": (coins, Prompt(Window(last=20, first=2))),
        "window, as a log": (coins, Prompt(Window(last=10), layout="log")),
        "hints: numbers": (coins, Prompt(hints=UCB)),
        "hints: numbers and arm, as a log": (coins, Prompt(hints=Hints(UCB, ("numbers", "arm")), layout="log")),
        "hints: Thompson's ranking": (coins, Prompt(hints=Hints(chance, ("ranking",)))),
        "hints: arm, beside a summary": (coins, Prompt("summary", hints=Hints(UCB, ("arm",)))),
        "demonstrations": (coins, Prompt(demonstrations=Demonstrations(teacher, 2))),
        "demonstrations, as a log": (coins, Prompt(demonstrations=Demonstrations(teacher, 1), layout="log")),
        "thought": (short, Prompt(answer="thought")),
        "thought, kept": (short, Prompt(answer="thought", thoughts="kept")),
        "Gaussian rewards": (icrl.make("evolve-gaussian-k5-easy", horizon=100), Prompt()),
        "contexts": (contexts, Prompt()),
        "contexts, hints": (contexts, Prompt(hints=LinUCB())),
        "switching means": (icrl.make("switching", horizon=100, changes=2), Prompt()),
        "drifting means": (icrl.make("drifting", horizon=100), Prompt()),
        "changing arms": (icrl.make("sleeping", n_arms=5, fewest=5, horizon=60), Prompt()),
        "best arm": (icrl.make("best-arm", horizon=60), Prompt()),
        "duels": (duels, Prompt()),
        "duels, hints": (duels, Prompt(hints=RUCB())),
        "several games": (trials, Prompt()),
        "several games, hints": (trials, Prompt(hints=Restarting(UCB))),
    }


def mass(model: Any, name: str, episodes: int) -> dict[str, float]:
    """In one format: the mean mass of its steps, and of that step where it is least."""
    task, prompt = formats()[name]
    runs = played(icrl.LLMAgent(model, replace(prompt, labels=WORDS)), task, episodes)
    assert runs.mass is not None
    steps = np.nanmean(runs.mass.reshape(len(runs), runs.horizon, -1), axis=(0, 2))
    return {"mean": float(steps.mean()), "least": float(steps.min()), "at": int(steps.argmin()) + 1}


def written(model: Any, episodes: int) -> dict[str, float]:
    """How many written distributions cannot be read, and how often the last pull is of the best arm."""
    task = icrl.make("bernoulli-easy", horizon=30)
    runs = played(icrl.LLMAgent(model, replace(RAW, answer="distribution")), task, episodes)
    assert runs.failed is not None
    return {
        "unread": float((runs.failed > 0).mean()),
        "best arm at the end": float(icrl.metrics.best_at_end(runs).mean()),
    }
