"""Gates 2 to 5: how pocket plays, whether it learns from its history, and what it costs."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import icrl
from card.common import PLAYERS, RAW, SEED, each, measured, played, system
from icrl import metrics, stats
from icrl.envs import Choice, Outcome, View, tape
from icrl.finetune.heldout import held_out
from icrl.prompts import Prompt

HARD, EASY = "bernoulli-hard", "bernoulli-easy"


@dataclass(frozen=True)
class Mistold(icrl.LLMAgent):
    """Its history credits each reward, and its answer, to a random arm, so that nothing can be learnt from it."""

    def update(self, state: Any, view: View, choice: Choice, outcome: Outcome) -> Any:
        """As if another arm had been pulled."""
        luck = tape.uniform(tape.key(SEED, tape.Stream.CHECK, view.episode, view.t))
        arms = (luck * view.legal.shape[1]).astype(np.int64)
        text = tuple(names[arm] for names, arm in zip(state.talk.names, arms.tolist(), strict=True))
        return super().update(state, view, replace(choice, arm=arms[:, None], text=text), outcome)


def play(model: Any, episodes: int) -> dict[str, dict[str, Any]]:
    """By task: the measures of each player, and what is known of learning and of the difference to habit."""
    agents = PLAYERS | {"pocket": icrl.LLMAgent(model, RAW), "pocket, rewards misplaced": Mistold(model, RAW)}
    found = {}
    for task in (HARD, EASY):
        runs = {name: played(agent, icrl.make(task), episodes) for name, agent in each(agents.items(), task)}
        blind, mistold = runs["Uniform"], runs["pocket, rewards misplaced"]
        found[task] = {
            "players": {name: measured(own, blind) for name, own in runs.items()},
            "misplaced: reward": vars(stats.equivalence(mistold, blind, 0.01, metrics.average_reward)),
            "misplaced: regret": vars(stats.paired_difference(mistold, runs["pocket"])),
            "beside win-stay": vars(stats.paired_difference(runs["pocket"], runs["win-stay lose-shift"])),
        }
    return found


def told(model: Any, episodes: int) -> dict[str, dict[str, Any]]:
    """By task: the measures where the same is told in other ways."""
    prompts = {
        "raw": RAW,
        "raw, as a log": replace(RAW, layout="log"),
        "summary": replace(RAW, history="summary"),
        "clothes": replace(RAW, scenario="clothes", labels=held_out("clothes")),
        "tag: greedy": replace(RAW, **system("greedy")),
        "tag: random": replace(RAW, **system("random")),
    }
    agents = {"Uniform": icrl.Uniform()} | {name: icrl.LLMAgent(model, prompt) for name, prompt in prompts.items()}
    found = {}
    for task in (HARD, EASY):
        runs = {name: played(agent, icrl.make(task), episodes) for name, agent in each(agents.items(), f"told, {task}")}
        found[task] = {name: measured(own, runs["Uniform"]) for name, own in runs.items()}
    return found


def cost(model: Any) -> dict[str, float]:
    """Environment steps per second of 64 episodes at once, and what the process takes."""
    task, agent = icrl.make(HARD), icrl.LLMAgent(model, Prompt())
    icrl.rollout(agent, icrl.make(HARD, horizon=5), episodes=64)
    begin = time.perf_counter()
    icrl.rollout(agent, task, episodes=64)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"steps per second": 64 * task.horizon / seconds, "peak memory, MiB": peak}
