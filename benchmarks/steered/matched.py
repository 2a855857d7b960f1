"""Is it more than a temperature? All ways to explore more, each at the strength that gives the same mean entropy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import entr
from scipy.stats import rankdata
from steered.common import CALIBRATE, GRID, RAW, agent, described, kept, on, vectors

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
    *("EAST", "EAST, run and step", "EAST without time", "mean difference", "principal", "advice pairs"),
    *("EAST, two Bernoulli arms", "in-context"),
    *(f"permuted {seed}" for seed in range(2)),
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
        return lambda x: agent(Steering(vectors(name)[0], x, "all")), 0.05
    vector = _vector(name, layer)
    return lambda x: agent(Steering(vector, vector.strength(x))), 0.1


def _vector(name: str, layer: int) -> SteeringVector:
    if name.startswith("random"):
        return agents.random_like(vectors("EAST")[layer], int(name.split()[1]))
    return vectors(name)[layer]


def calibrated(name: str, task: str, layer: int) -> dict[str, Any]:
    """The strength at which play has MORE nats of mean entropy than unsteered play; see `found`."""
    make, first = maker(name, layer)

    def entropy(x: float) -> float:
        player = agent() if x == 0 else make(x)
        return float(
            np.nanmean(metrics.action_entropy(icrl.rollout(player, icrl.make(task), episodes=TRIED, seed=CALIBRATE)))
        )

    return found(entropy, first, both=any(name.startswith(kind) for kind in ("random", "permuted", "advice")))


def found(entropy: Callable[[float], float], first: float, both: bool) -> dict[str, Any]:
    """The strength of MORE nats above strength 0: doubled until above, then halved; the closest one tried.

    Args:
        entropy: Of play at a strength.
        first: Where to begin.
        both: Whether negative strengths are tried, too, as for directions that mean nothing.

    Returns:
        If no strength is enough, that of the highest entropy, and `reached` is false.
    """
    plain = entropy(0)
    ends = [_end(entropy, sign * first, plain + MORE) for sign in ((1.0, -1.0) if both else (1.0,))]
    tried = {0.0: plain} | {x: value for end in ends for x, value in end.items()}
    if not (enough := [x for x, value in tried.items() if value >= plain + MORE]):
        most = max(tried, key=lambda x: tried[x])
        return {"strength": most, "entropy": tried[most], "target": plain + MORE, "reached": False}
    high = min(enough, key=abs)
    low = max((x for x in tried if x * high >= 0 and abs(x) < abs(high)), key=abs)
    for _ in range(TRIALS):
        middle = (low + high) / 2
        tried[middle] = entropy(middle)
        if abs(tried[middle] - plain - MORE) < CLOSE:
            break
        low, high = (middle, high) if tried[middle] < plain + MORE else (low, middle)
    closest = min(tried, key=lambda x: abs(tried[x] - plain - MORE))
    return {"strength": closest, "entropy": tried[closest], "target": plain + MORE, "reached": True}


def _end(entropy: Callable[[float], float], first: float, target: float) -> dict[float, float]:
    """Strengths and their doubled until one is above the target, or far beyond what can be meant."""
    tried = {first: entropy(first)}
    while (last := list(tried)[-1]) and tried[last] < target and abs(last) < 16 * abs(first):
        tried[2 * last] = entropy(2 * last)
    return tried


BESIDE: dict[str, Any] = {
    "regret": metrics.final_regret,
    "suffix failure": lambda runs: metrics.suffix_failure(runs).astype(float),
    "switch rate": metrics.switch_rate,
}


def player(name: str, layer: int, strength: float, horizon: int) -> Any:
    """An explorer; some take EAST's strength."""
    east = vectors("EAST")[layer]
    twice = 2 * east.strength(strength)
    if name == "hints, UCB":
        return agent(prompt=replace(RAW, hints=icrl.UCB(alpha=0.5)))
    if name == "EAST, minus":
        return agent(Steering(east, -east.strength(strength)))
    if name == "EAST, fading":
        return agent(Steering(east, agents.Fading(twice, horizon / 4)))
    if name == "EAST, unsure":
        return agent(Steering(east, agents.Unsure(scale=twice, most=twice)))
    return maker(name, layer)[0](strength)


def unsteered(task: str, horizon: int, episodes: int, seed: int) -> dict[str, float]:
    """The agent as it is."""
    return described(_base(task, horizon, episodes, seed))


def _base(task: str, horizon: int, episodes: int, seed: int) -> Episodes:
    """Its episodes; they are kept, as all others are compared with them."""
    path = kept() / f"{task}-{horizon}-{episodes}-{seed}.npz"
    if not path.exists():
        _played(agent(), task, horizon, episodes, seed).save(path)
    return Episodes.load(path)


def _played(who: Any, task: str, horizon: int, episodes: int, seed: int) -> Episodes:
    return icrl.rollout(who, icrl.make(task, horizon=horizon), episodes=episodes, seed=seed, batch=100)


def compared(name: str, task: str, horizon: int, episodes: int, seed: int, layer: int, x: float) -> dict[str, Any]:
    """The measures of an explorer of strength x, and the paired differences to the unsteered agent."""
    runs = _played(player(name, layer, x, horizon), task, horizon, episodes, seed)
    base, found = _base(task, horizon, episodes, seed), dict[str, Any](described(runs))
    for what, measure in BESIDE.items():
        found[f"{what} beside unsteered"] = vars(stats.paired_difference(runs, base, measure))
    return found | {"strength": x}


def selective(task: str, strengths: dict[str, float], layer: int, episodes: int) -> dict[str, Any]:
    """Does the entropy rise where little is known? Rank correlations over all prompts of unsteered play.

    Of the change of each prompt's entropy with the entropy of the posterior of being best (uniform priors), and with
    1 / n of the arm of the highest mean; and both without what temperature's own change, or the step, explains
    (partial). Intervals are of a bootstrap over episodes.
    """
    history = icrl.rollout(agent(), icrl.make(task), episodes=episodes, seed=GRID)
    known, steps = _known(history), np.tile(np.arange(history.horizon), (episodes, 1))
    before = on(history, agent())["entropy"]
    change = {n: on(history, maker(n, layer)[0](x))["entropy"] - before for n, x in strengths.items()}
    rows: dict[str, Any] = {}
    for name, rise in change.items():
        rows[name] = {"rise": float(rise.mean())}
        for what, values in known.items():
            given = {"beyond temperature": change["temperature"], "beyond the step": steps}
            rows[name][what] = _interval(rise, values)
            rows[name] |= {f"{what}, {told}": _interval(rise, values, third) for told, third in given.items()}
    return rows


def _interval(rise: Any, values: Any, given: Any = None) -> list[float]:
    """A correlation and its 95 % interval, from 100 draws of episodes [B, T]."""
    rng, own = np.random.default_rng(0), np.arange(len(rise))

    def once(rows: Any) -> float:
        there = np.isfinite(values[rows])
        pair = rise[rows][there], values[rows][there]
        return correlation(*pair) if given is None else beyond(*pair, given[rows][there])

    drawn = [once(rng.choice(own, len(own))) for _ in range(100)]
    return [once(own), *(float(x) for x in np.nanquantile(drawn, (0.025, 0.975)))]


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
