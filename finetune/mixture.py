"""What the diaries are about: tasks of all kinds, and all the ways to tell them, drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import Generator

from icrl.agents import RUCB, UCB, LinUCB, Restarting, ThompsonSampling, rollout
from icrl.envs import (
    ActionSets,
    Bandit,
    Bernoulli,
    BestArm,
    BradleyTerry,
    Drifting,
    Dueling,
    Gap,
    Gaussian,
    Linear,
    NormalMeans,
    Switching,
    Trials,
    UniformMeans,
)
from icrl.envs.types import AnyWorld, Public
from icrl.finetune.heldout import ARMS, STORIES, trained
from icrl.finetune.players import Player, tag
from icrl.prompts import Demonstrations, Hints, Prompt, Summary, Window

TASKS = {
    "bernoulli": 0.66,
    "gaussian": 0.1,
    "moving": 0.05,
    "sets": 0.03,
    "best-arm": 0.03,
    "contexts": 0.04,
    "duel": 0.03,
    "games": 0.06,
}
STYLES = {"raw": 0.5, "summary": 0.11, "window": 0.05, "hints": 0.1, "games": 0.09, "thought": 0.08, "shares": 0.07}
"""How often a prompt has what its name says; those that a task cannot have become `raw`."""
SHOWN = 2**41
"""Games that are shown have seeds from here on, beyond those of the games that are told."""
LONG, LONG_SHARE = 1000, 0.004
"""A few games are much longer than the others."""


def draw_task(rng: Generator, longest: int, arms: tuple[int, ...] = ARMS, grown: float = 1.0) -> AnyWorld:
    """A task with a horizon of up to `longest`, mostly with rewards of 0 and 1; of other kinds as training grows."""
    kind = str(rng.choice(list(TASKS), p=list(TASKS.values())))
    kind = kind if rng.random() < grown else "bernoulli"
    k, horizon = int(rng.choice(arms)), int(np.exp(rng.uniform(np.log(2), np.log(longest + 1))))
    if kind == "bernoulli":
        horizon = LONG if longest >= 100 and rng.random() < LONG_SHARE else horizon
        return Bandit(n_arms=k, horizon=horizon, means=_means(rng))
    if kind == "gaussian":
        sd = float(rng.choice([0.5, 1.0, 2.0]))
        return Bandit(n_arms=k, horizon=horizon, means=NormalMeans(sd=sd), noise=Gaussian(sd=sd))
    if kind == "moving":
        if rng.random() < 0.5:
            return Switching(n_arms=k, horizon=horizon, means=UniformMeans(), changes=min(2, horizon - 1))
        return Drifting(n_arms=k, horizon=horizon, means=UniformMeans(), drift=0.05)
    if kind == "sets":
        return ActionSets(n_arms=k, horizon=horizon, means=UniformMeans(), fewest=k, present=0.7)
    if kind == "best-arm":
        return BestArm(n_arms=k, horizon=max(horizon, 2 * k + 1), means=_means(rng))
    if kind == "contexts":
        return Linear(n_arms=min(k, 5), horizon=min(horizon, 60), dim=2, noise=Gaussian(sd=0.5))
    if kind == "duel":
        return Dueling(n_arms=k, horizon=horizon, preferences=BradleyTerry(strengths=NormalMeans(sd=1.0)))
    game = Bandit(n_arms=min(k, 6), horizon=min(horizon, 30), means=_means(rng), noise=Bernoulli())
    return Trials(task=game, games=int(rng.integers(2, 5)))


def _means(rng: Generator) -> UniformMeans | Gap:
    """Uniform ones, or gaps of all sizes."""
    if rng.random() < 0.4:
        return UniformMeans()
    gap = float(f"{rng.uniform(0.1, 0.7):.2f}")
    return Gap(best=float(f"{rng.uniform(gap, 1.0):.2f}"), gap=gap)


def draw_prompt(rng: Generator, task: AnyWorld, player: Player, tagged: bool, grown: float = 1.0) -> Prompt:
    """How the player's diary of such a task is told; at the beginning mostly as a plain chat.

    Args:
        rng: Of the batch.
        task: What was played.
        player: Who played; demonstrations are games of the same player.
        tagged: Whether the system text names the player's kind.
        grown: From 0 to 1, how far the training has come.
    """
    public, style = task.public, str(rng.choice(list(STYLES), p=list(STYLES.values())))
    fields: dict[str, Any] = {
        "scenario": str(rng.choice(STORIES)),
        "layout": "log" if rng.random() < 0.2 * grown else "turns",
        "labels": trained(),
        "instructions": str(rng.choice(["bare", "advice"])),
        "horizon": "told" if rng.random() < 0.3 else "hidden",
        "system": tag(player.kind) if tagged else "",
    }
    if rng.random() > grown or (public.horizon or 0) > 300:
        style = "raw"
    prompt = Prompt(**fields)
    told = replace(prompt, **_told(rng, style, task, player))
    try:
        told.check(public)
    except ValueError:  # such a task cannot be told so
        return prompt
    return told


def _told(rng: Generator, style: str, task: AnyWorld, player: Player) -> dict[str, Any]:
    """The fields of a style."""
    public, u = task.public, rng.random()
    if style == "summary":
        return {"history": Summary(spread=u < 0.2, last=int(rng.integers(0, 4)) if u < 0.4 else 0)}
    if style == "window":
        return {"history": Window(last=int(rng.integers(3, 21)), first=int(rng.integers(0, 4)))}
    if style == "hints":
        summary = rng.random() < 0.4 and public.kind in ("bandit", "best-arm")
        return {"history": Summary() if summary else "raw", "hints": _hints(rng, public)}
    if style == "games":
        pool = rollout(player.agent, task, episodes=range(8), seed=SHOWN + int(rng.integers(2**40)))
        return {"demonstrations": Demonstrations(pool, int(rng.integers(1, 4)))}
    if style == "thought" and public.kind == "bandit" and public.trials == 1 and not public.variable:
        kept = u < 0.5 and public.n_arms <= 5 and (public.horizon or 0) <= 30
        return {"answer": "thought", "layout": "turns", "thoughts": "kept" if kept else "dropped"}
    return {"answer": "distribution"} if style == "shares" and public.n_arms <= 6 and public.trials == 1 else {}


def _hints(rng: Generator, public: Public) -> Hints:
    """Notes of an algorithm; UCB with the bonus 1/sqrt(n) most of all."""
    show: Any = (("numbers",), ("arm",), ("ranking",), ("numbers", "arm"))[rng.choice(4, p=[0.5, 0.2, 0.1, 0.2])]
    if public.kind == "dueling":
        return Hints(RUCB(), show)
    if public.context_dim:
        return Hints(LinUCB(), show)
    adviser: Any = UCB(c=1.0) if rng.random() < 0.75 else ThompsonSampling()
    return Hints(Restarting(adviser) if public.trials > 1 else adviser, show)
