"""The trie of choices: where constrained decoding has something to decide.

The probability of a choice is the product, over the nodes on its path that branch, of the softmax over that node's
children. A node with one child decides nothing. This is what masked generation and a server's structured choice do,
so all backends have one policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from icrl.models.base import Choices

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Node:
    """A node of the trie that branches: the tokens before it, and the token that each choice takes here."""

    path: tuple[int, ...]
    taken: tuple[int, ...]
    """[C] -1 for choices that do not pass here."""


@lru_cache(maxsize=65536)
def branches(choices: Choices) -> tuple[Node, ...]:
    """The branching nodes, nearest to the root first.

    Raises:
        ValueError: Two choices have the same tokens, or one is the beginning of another.
    """
    paths = sorted({c[:i] for c in choices for i in range(len(c))}, key=lambda path: (len(path), path))
    if len(set(choices)) < len(choices) or set(paths) & set(choices):
        raise ValueError(f"choices: each must differ from all others before it ends, got {choices}")
    nodes = (Node(p, tuple(c[len(p)] if c[: len(p)] == p else -1 for c in choices)) for p in paths)
    return tuple(node for node in nodes if len(set(node.taken) - {-1}) > 1)


@dataclass(frozen=True)
class Level:
    """The k-th branching node of each row of a batch, as rectangles; rows that have fewer hold no children."""

    paths: tuple[tuple[int, ...], ...]
    tokens: Indices
    """[R, M] children; 0 where there is none."""
    live: NDArray[np.bool_]
    """[R, M] which of them exist."""
    child: Indices
    """[R, C] which child each choice takes; -1 for none."""


@lru_cache(maxsize=256)
def levels(batch: tuple[Choices, ...]) -> tuple[Level, ...]:
    """What has to be looked at for a batch; the first level needs no tokens beyond the prompts, mostly."""
    nodes = [branches(choices) for choices in batch]
    none = Node((), ())
    width = max(len(choices) for choices in batch)
    found = []
    for k in range(max(len(n) for n in nodes)):
        row = [n[k] if k < len(n) else none for n in nodes]
        children = [sorted(set(node.taken) - {-1}) for node in row]
        tokens = np.zeros((len(row), max(len(c) for c in children)), np.int64)
        live = np.zeros(tokens.shape, np.bool_)
        child = np.full((len(row), width), -1)
        for r, (node, options) in enumerate(zip(row, children, strict=True)):
            tokens[r, : len(options)], live[r, : len(options)] = options, True
            child[r, : len(node.taken)] = [options.index(t) if t >= 0 else -1 for t in node.taken]
        found.append(Level(tuple(node.path for node in row), tokens, live, child))
    return tuple(found)


def judged(batch: tuple[Choices, ...], temperature: Floats, told: Iterable[Floats]) -> list[tuple[Floats, float]]:
    """The policy over each row's choices, and the mass they held before masking.

    Args:
        batch: [R] choices.
        temperature: [R, 1].
        told: For each of `levels(batch)`, [R, M] log-probabilities of its tokens among all tokens; anything where it
            is not live.

    Raises:
        ValueError: One of them is NaN.
    """
    logp, mass = np.zeros((2, len(batch), max(map(len, batch))))
    for level, found in zip(levels(batch), told, strict=True):
        if np.isnan(found[level.live]).any():
            raise ValueError("model: some of its log-probabilities are not numbers; are its weights?")
        shown = np.where(level.live, found, -np.inf)
        mass = mass + along(shown, level.child)
        shown[~level.live.any(axis=1)] = 0.0
        logp = logp + along(policy(shown, temperature), level.child)
    rows = zip(logp, mass, batch, strict=True)
    return [(own[: len(c)], float(np.exp(raw[: len(c)]).sum())) for own, raw, c in rows]


def policy(logits: Floats, temperature: Floats) -> Floats:
    """[R, M] log-softmax at a temperature [R, 1]; 0 puts everything on the first of the highest."""
    top = np.arange(logits.shape[1]) == logits.argmax(axis=1)[:, None]
    cold = np.where(top, 0.0, -np.inf)
    scaled = (logits - logits.max(axis=1, keepdims=True)) / np.where(temperature > 0, temperature, 1.0)
    warm = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return np.where(temperature > 0, warm, cold)


def along(per_child: Floats, child: Indices) -> Floats:
    """[R, C] the child's number for each choice; 0 for choices that do not pass."""
    picked = np.take_along_axis(per_child, np.maximum(child, 0), axis=1)
    return np.where(child >= 0, picked, 0.0)
