"""How a student does beside its teacher and its base, on the same luck."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.special import entr

from icrl.agents import LLMAgent, Uniform, replay, rollout
from icrl.agents.base import AnyAgent
from icrl.envs import Episodes
from icrl.envs.types import Floats
from icrl.experiments import measures
from icrl.experiments.bootstrap import interval
from icrl.experiments.distill_splits import Split
from icrl.experiments.paired import paired_difference
from icrl.finetune.labels import Labels
from icrl.models import Model

Interval = tuple[float, float, float]
"""Value, low and high: a bootstrap over episodes."""
BATCH = 64
"""Episodes that a model reads at once: what it keeps of long ones is large."""
ALIKE = ("agreement", "total variation", "entropy", "teacher's entropy")
WHOSE = ("the teacher's", "its own")
CLOSE = 1e-9
"""Probabilities of a teacher that differ by less are a tie."""
AGREEMENT = tuple(f"{what} on {whose} histories" for whose in WHOSE for what in ALIKE)
MEASURES: dict[str, Callable[[Episodes], Floats]] = {
    "regret": measures.final_regret,
    "suffix failure": lambda runs: measures.suffix_failure(runs).astype(np.float64),
    "K MinFrac": measures.min_frac,
    "GreedyFrac": measures.greedy_frac,
    "coverage": lambda runs: measures.coverage(runs)[:, -1],
}


@dataclass(frozen=True)
class Side:
    """One player's part of a comparison: means with intervals, and paired differences from the teacher."""

    measures: Mapping[str, Interval]
    beside: Mapping[str, Interval]
    normalised: Interval
    """(R - R_teacher) / (R_uniform - R_teacher): 0 is the teacher's regret, 1 uniform play's."""
    agreement: Mapping[str, float]
    """With the teacher, on the teacher's histories and on its own."""


def compared(split: Split, models: Mapping[str, Model], teacher: AnyAgent, episodes: int, seed: int) -> dict[str, Side]:
    """Each model beside the teacher.

    Args:
        split: What is played.
        models: By name.
        teacher: Whom they learnt from.
        episodes: Of each.
        seed: Of the luck, which is the same for all.
    """
    theirs, blind = (rollout(agent, split.task, episodes=episodes, seed=seed) for agent in (teacher, Uniform()))
    players = {name: LLMAgent(model, split.prompt) for name, model in models.items()}
    how: dict[str, Any] = {"episodes": episodes, "seed": seed, "batch": BATCH}
    found = {name: rollout(agent, split.task, **how) for name, agent in players.items()}
    return {name: side(runs, theirs, blind, players[name], teacher) for name, runs in found.items()}


def side(runs: Episodes, theirs: Episodes, blind: Episodes, player: LLMAgent, teacher: AnyAgent) -> Side:
    """One player's part."""
    own = {name: interval(np.mean, measure(runs)) for name, measure in MEASURES.items()}
    beside = {name: paired_difference(runs, theirs, measure) for name, measure in MEASURES.items()}
    regrets = (measures.final_regret(one) for one in (runs, theirs, blind))
    return Side(
        own,
        {name: (found.diff, found.low, found.high) for name, found in beside.items()},
        normalised(*regrets),
        agreement(runs, theirs, player, teacher),
    )


def normalised(ours: Floats, theirs: Floats, blind: Floats) -> Interval:
    """The share of the way from the teacher's regret to uniform play's; all [B], on the same luck."""

    def share(lost: Any, room: Any, axis: int) -> Any:
        lost, room = lost.mean(axis=axis), room.mean(axis=axis)
        return np.divide(lost, room, out=np.full(np.shape(lost), np.nan), where=room != 0)

    return interval(share, ours - theirs, blind - theirs)


def agreement(runs: Episodes, theirs: Episodes, player: LLMAgent, teacher: AnyAgent) -> dict[str, float]:
    """How like the teacher a player chooses; ties of the teacher all count.

    Returns:
        On the teacher's histories and on the player's own: share of steps whose most probable arm is one of those most
        probable to the teacher, the mean total variation between the policies, and the mean entropy of each, in nats.
    """
    shown = theirs.named(player.names(theirs.public, theirs.episode, theirs.seed))
    states, parts = partial(_stated, teacher), range(0, len(shown), BATCH)
    ours = np.concatenate([_read(player, shown.take(slice(i, i + BATCH))) for i in parts])
    assert runs.probs is not None
    return _alike(ours, states(shown), WHOSE[0]) | _alike(runs.probs, states(runs), WHOSE[1])


def _stated(teacher: AnyAgent, shown: Episodes) -> Floats:
    """[B, T, K] a teacher's policy; of one that does not tell it, what it chose."""
    try:
        return Labels("policy", teacher)(shown)
    except ValueError:
        return Labels("teacher", teacher)(shown)


def _read(player: LLMAgent, shown: Episodes) -> Floats:
    """[B, T, K] a model's policy on somebody's histories."""
    read = [choice.probs for choice in replay(player, shown)]
    return np.stack([probs[:, 0] for probs in read if probs is not None], axis=1)


def _alike(ours: Floats, theirs: Floats, whose: str) -> dict[str, float]:
    ties = theirs >= theirs.max(axis=2, keepdims=True) - CLOSE
    first = np.take_along_axis(ties, ours.argmax(axis=2)[..., None], axis=2)[..., 0]
    played = theirs.sum(axis=2) > 0
    apart = np.abs(ours - theirs).sum(axis=2) / 2
    cells = first, apart, entr(ours).sum(axis=2), entr(theirs).sum(axis=2)
    return {f"{what} on {whose} histories": float(x[played].mean()) for what, x in zip(ALIKE, cells, strict=True)}
