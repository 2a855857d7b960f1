"""Is it more than a temperature? All ways to explore more, each at the strength that gives the same mean entropy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import entr
from scipy.stats import rankdata
from steered.common import CALIBRATE, HARD, KEPT, PLAY, RAW, agent, described, entropies, on, strength_of, vectors

import icrl
from icrl import agents, metrics, stats
from icrl.agents import EpsilonMix, Steering
from icrl.envs import Choice, Episodes, Outcome
from icrl.models import SteeringVector

MORE = 0.2
"""Nats of mean entropy above the unsteered agent's, which all are brought to."""
TRIED = 40
"""Episodes of each trial of a strength."""
CLOSE, TRIALS = 0.015, 5
RANDOM = 3
EXPLORERS = (
    *("EAST", "EAST, run and step", "EAST without time", "mean difference", "principal", "advice pairs", "permuted"),
    *("EAST, two Bernoulli arms", "in-context"),
    *(f"random {seed}" for seed in range(RANDOM)),
    *("temperature", "epsilon"),
)
Maker = Callable[[float], Any]


def maker(name: str, layer: int) -> tuple[Maker, float]:
    """How an agent is made of a strength, and the strength to begin with."""
    if name == "temperature":
        return lambda x: agent(temperature=1 + x), 0.25
    if name == "epsilon":
        return lambda x: EpsilonMix(agent(), min(x, 1.0)), 0.05
    if name == "in-context":
        return lambda x: agent(Steering(vectors(name)[0], x)), 0.05
    vector = _vector(name, layer)
    return lambda x: agent(Steering(vector, strength_of(vector, x))), 0.1


def _vector(name: str, layer: int) -> SteeringVector:
    if name.startswith("random"):
        return agents.random_like(vectors("EAST")[layer], int(name.split()[1]))
    return vectors(name)[layer]


def calibrated(name: str, task: str, layer: int) -> dict[str, Any]:
    """The strength at which play has MORE nats of mean entropy than unsteered play: doubled until above, then halved.

    Directions that lower the entropy are turned around. If none of the strengths is enough, the most that was reached.
    """
    make, first = maker(name, layer)

    def entropy(x: float) -> float:
        player = agent() if x == 0 else make(x)
        return float(np.nanmean(entropies(icrl.rollout(player, icrl.make(task), episodes=TRIED, seed=CALIBRATE))))

    target = entropy(0) + MORE
    both = name.startswith("random") or name in ("permuted", "advice pairs")
    sign = -1.0 if both and entropy(-first) > entropy(first) else 1.0
    tried, low, high = {0.0: target - MORE}, 0.0, sign * first
    while (now := entropy(high)) < target:
        tried[high] = now
        low, high = high, 2 * high
        if abs(high) > 32 * abs(first):
            most = max(tried, key=lambda x: tried[x])
            return {"strength": most, "entropy": tried[most], "target": target, "reached": False}
    for _ in range(TRIALS):
        middle = (low + high) / 2
        now = entropy(middle)
        if abs(now - target) < CLOSE:
            break
        low, high = (middle, high) if now < target else (low, middle)
    return {"strength": middle, "entropy": now, "target": target, "reached": True}


def player(name: str, layer: int, strength: float, horizon: int) -> Any:
    """An explorer; some take EAST's strength."""
    east = vectors("EAST")[layer]
    twice = 2 * strength_of(east, strength)
    if name == "hints, UCB":
        return agent(prompt=replace(RAW, hints=icrl.UCB(alpha=0.5)))
    if name == "EAST, minus":
        return agent(Steering(east, -strength_of(east, strength)))
    if name == "EAST, fading":
        return agent(Steering(east, agents.Fading(twice, horizon / 4)))
    if name == "EAST, unsure":
        return agent(Steering(east, agents.Unsure(scale=twice, most=twice)))
    return maker(name, layer)[0](strength)


def unsteered(task: str, horizon: int, episodes: int) -> dict[str, float]:
    """The agent as it is."""
    return described(_base(task, horizon, episodes))


def _base(task: str, horizon: int, episodes: int) -> Episodes:
    """Its episodes; they are kept, as all others are compared with them."""
    kept = KEPT / f"{task}-{horizon}-{episodes}.npz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        _played(agent(), task, horizon, episodes).save(kept)
    return Episodes.load(kept)


def _played(player: Any, task: str, horizon: int, episodes: int) -> Episodes:
    return icrl.rollout(player, icrl.make(task, horizon=horizon), episodes=episodes, seed=PLAY, batch=100)


def compared(name: str, task: str, horizon: int, episodes: int, layer: int, strength: float) -> dict[str, Any]:
    """The measures of an explorer, and the paired differences to the unsteered agent."""
    runs = _played(player(name, layer, strength, horizon), task, horizon, episodes)
    base, found = _base(task, horizon, episodes), dict[str, Any](described(runs))
    measures = {"regret": metrics.final_regret, "suffix failure": lambda r: metrics.suffix_failure(r).astype(float)}
    for what, measure in measures.items():
        found[f"{what} beside unsteered"] = vars(stats.paired_difference(runs, base, measure))
    return found | {"strength": strength}


def selective(strengths: dict[str, float], layer: int, episodes: int) -> dict[str, Any]:
    """Does the entropy rise where little is known? Rank correlations over all prompts of unsteered play.

    Of the change of each prompt's entropy with the entropy of the posterior of being best (uniform priors), and with
    1 / n of the arm of the highest mean; and both without what temperature's own change explains (partial).
    """
    history = icrl.rollout(agent(), icrl.make(HARD), episodes=episodes, seed=PLAY)
    known = _known(history)
    there = np.isfinite(known["1/n of the favourite"])
    before = on(history, agent())["entropy"]
    change = {n: on(history, maker(n, layer)[0](x))["entropy"] - before for n, x in strengths.items()}
    warmer, rows = change["temperature"][there], dict[str, Any]()
    for name, rise in change.items():
        rows[name] = {"rise": float(rise.mean())}
        for what, values in known.items():
            rows[name][what] = correlation(rise[there], values[there])
            rows[name][f"{what}, beyond temperature"] = beyond(rise[there], values[there], warmer)
    return rows


def _known(history: Any) -> dict[str, Any]:
    """[B, T] the posterior's entropy, and 1 / pulls of the arm with the highest mean (NaN before the first pull)."""
    thompson, rows = icrl.ThompsonSampling(), np.arange(len(history))
    state = thompson.start(history.public, None, history.episode, history.seed)
    unsure, fresh = (np.full(history.arms.shape, np.nan) for _ in range(2))
    for t in range(history.horizon):
        view = history.view(rows, np.full(len(rows), t))
        unsure[:, t] = entr(thompson.policy(state, view)[:, 0]).sum(axis=1)
        pulls = state.pulls.astype(np.float64)
        mean = np.where(pulls > 0, state.mean, -np.inf)
        n = np.take_along_axis(pulls, mean.argmax(axis=1)[:, None], axis=1)[:, 0]
        fresh[:, t] = np.where(n > 0, 1 / np.maximum(n, 1), np.nan)
        over = np.zeros(len(rows), np.bool_)
        outcome = Outcome(history.rewards[:, t], over, over)
        state = thompson.update(state, view, Choice(history.arms[:, t][:, None]), outcome)
    return {"posterior entropy": unsure, "1/n of the favourite": fresh}


def correlation(a: Any, b: Any) -> float:
    """Spearman's."""
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1]) if np.ptp(a) > 0 else float("nan")


def beyond(a: Any, b: Any, given: Any) -> float:
    """Spearman's partial rank correlation of a and b given a third."""
    ab, ac, bc = correlation(a, b), correlation(a, given), correlation(b, given)
    return float((ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2))) if abs(ac) < 1 - 1e-9 else float("nan")
