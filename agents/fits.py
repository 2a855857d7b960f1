"""Directions from what a model holds while it plays: EAST, and what it is to be compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from icrl.agents.llm import LLMAgent
from icrl.agents.plays import Estimator, Pairs, Plays, collect
from icrl.agents.record import Step
from icrl.envs.types import AnyWorld, Floats, Ints
from icrl.models.steering import Directions, Origin, SteeringVector

Centre = Literal["run", "run+time", "global", "none"]
TINY = 1e-9
"""Of the entropies' own size: variation that rounding alone gives."""


def fit_east(
    agent: LLMAgent,
    task: AnyWorld,
    *,
    episodes: int = 65,
    seed: int = 0,
    draws: int | None = None,
    estimator: Estimator = "policy",
    centre: Centre = "run",
    batch: int = 64,
    on_step: Callable[[Step], None] | None = None,
) -> tuple[SteeringVector, ...]:
    """Plays, and fits entropic activation steering; arguments as of `collect` and `east`.

    Returns:
        A vector for each layer, the first block first.
    """
    plays = collect(
        agent, task, episodes=episodes, seed=seed, draws=draws, estimator=estimator, batch=batch, on_step=on_step
    )
    return east(plays, centre)


def east(plays: Plays, centre: Centre = "run") -> tuple[SteeringVector, ...]:
    """Entropic activation steering: the entropy-weighted mean of centred activations (Rahn et al. 2024, equation 1).

    For activations z, entropies h and runs k: u = sum h (z - mean of z in the run) / sum h, which is the covariance of
    h and z within runs by the mean entropy. So its length goes with 1 / mean entropy; see `SteeringVector.relative`.

    Args:
        plays: Of `collect`.
        centre: `run`, as in the paper; `run+time`: of z and h, what the run and the step do not explain, as both drift
            with time; `global`: the mean of all prompts; `none`.

    Returns:
        A vector for each layer.

    Raises:
        ValueError: The entropies do not vary where they would have to, or there is no such centring.
    """
    if centre not in get_args(Centre):
        raise ValueError(f"centre: must be one of {get_args(Centre)}, got {centre!r}")
    h = plays.entropy
    if h.sum() <= 0:
        raise ValueError("steering: the policy has no entropy at any prompt, so nothing can be fitted; play warmer")
    weights = _centred(h, plays, centre) if centre != "none" else h
    if centre != "none" and np.abs(weights).max() <= TINY * h.max():
        raise ValueError(f"steering: the policy's entropy does not vary (centre {centre!r}); nothing can be fitted")
    # Centring the weights centres the activations: the sum of h (z - z mean) is that of (h - h mean) z.
    found = [weights @ plays.states[:, layer].astype(np.float64) / h.sum() for layer in range(plays.states.shape[1])]
    return _vectors(found, f"east, centre {centre}", plays.origin, plays.states)


def time_direction(plays: Plays) -> tuple[SteeringVector, ...]:
    """How activations move with the step, within runs: the confound of EAST, since entropy falls with the step."""
    weights = _centred(plays.t.astype(np.float64), plays, "run")
    if not weights.any():
        raise ValueError("steering: each run has one step, so there is no direction of time")
    layers = range(plays.states.shape[1])
    found = [weights @ plays.states[:, layer].astype(np.float64) / (weights @ weights) for layer in layers]
    return _vectors(found, "time", plays.origin, plays.states)


def mean_difference(pairs: Pairs) -> tuple[SteeringVector, ...]:
    """Contrastive activation addition: the mean of more minus less (Rimsky et al. 2024)."""
    found = [_difference(pairs, layer).mean(axis=0) for layer in range(pairs.more.shape[1])]
    return _vectors(found, "mean difference", pairs.origin, pairs.less)


def principal(pairs: Pairs) -> tuple[SteeringVector, ...]:
    """Representation engineering: the first principal direction of more minus less (Zou et al. 2023).

    The differences are not centred; the sign is that of their mean, and so is the length along it.
    """
    found = []
    for layer in range(pairs.more.shape[1]):
        differences = _difference(pairs, layer)
        first = np.linalg.svd(differences, full_matrices=False)[2][0]
        found.append(first * (differences.mean(axis=0) @ first))
    return _vectors(found, "principal", pairs.origin, pairs.less)


def in_context(pairs: Pairs) -> SteeringVector:
    """An in-context vector: the first principal component of all layers' differences plus their mean (Liu et al. 2023).

    It is for all layers at once and keeps the length of what it steers; it is meant for all positions, and a strength
    around 0.1. Its directions' own lengths play no part. The component has the sign with which the pair furthest along
    it scores above 0, as in the authors' code; which turns the outputs of MLPs, where we turn the residual stream.
    """
    n, layers, d = pairs.more.shape
    flat = (pairs.more.astype(np.float64) - pairs.less).reshape(n, layers * d)
    mean = flat.mean(axis=0)
    flat -= mean
    values, scores = np.linalg.eigh(flat @ flat.T)  # n by n: of a large model, pairs are fewer than numbers
    score = scores[:, -1] * np.sign(scores[np.abs(scores[:, -1]).argmax(), -1])
    first = score @ flat / np.sqrt(values[-1]) if values[-1] > TINY else 0.0
    directions = (first + mean).reshape(layers, d).astype(np.float32)
    norm, size = float(np.linalg.norm(directions)), float(np.linalg.norm(pairs.less.astype(np.float64), axis=2).mean())
    origin = pairs.origin.model_copy(update={"method": "in-context vector", "norm": norm, "residual": size})
    return SteeringVector(directions, tuple(range(layers)), keeps_norm=True, origin=origin)


def _centred(values: Floats, plays: Plays, centre: Centre) -> Floats:
    """[N] without what the run, or the run and the step, or the mean of all, explain."""
    if centre == "global":
        return np.asarray(values - values.mean())
    groups = [plays.run] if centre == "run" else [plays.run, plays.t]
    return _residue(values, [np.asarray(np.unique(group, return_inverse=True)[1]) for group in groups])


def _residue(values: Floats, groups: Sequence[Ints]) -> Floats:
    """What is left of values after the means of groups: exact for one grouping, by turns for two."""
    left = values.astype(np.float64)
    for _ in range(1 if len(groups) == 1 else 200):
        before = left
        for group in groups:
            left = left - (np.bincount(group, left) / np.bincount(group))[group]
        if np.abs(left - before).max() <= TINY * max(np.abs(values).max(), TINY):
            break
    return left


def _difference(pairs: Pairs, layer: int) -> Floats:
    found: Floats = pairs.more[:, layer].astype(np.float64) - pairs.less[:, layer]
    return found


def _vectors(found: Sequence[Floats], method: str, origin: Origin, states: Directions) -> tuple[SteeringVector, ...]:
    """One for each layer, with its lengths."""
    vectors = []
    for layer, direction in enumerate(found):
        size = float(np.linalg.norm(states[:, layer].astype(np.float64), axis=1).mean())
        told = {"method": method, "norm": float(np.linalg.norm(direction)), "residual": size}
        directions = np.asarray(direction, np.float32)[None]
        vectors.append(SteeringVector(directions, (layer,), origin=origin.model_copy(update=told)))
    return tuple(vectors)
