"""Whether the corpus gives away what has to be learnt, and how often it repeats itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from card.common import each
from icrl.envs.types import Floats, Ints
from icrl.finetune.corpus import Corpus
from icrl.prompts.chat import ChatTokenizer

ARMS = 5
"""Games of as many arms are compared: they all have the same places."""
SHUFFLES = 500


def audit(tokenizer: ChatTokenizer, batches: int) -> dict[str, Any]:
    """Mutual information in nats, what chance alone would give, and a permutation test's p-value; and repeated rows.

    Of the games with one best arm that stays the best, of batches after the warm-up: whether its place in the list, or
    its label, tells it.
    """
    corpus, rows = Corpus(tokenizer, seed=0), Counter[bytes]()
    names, best = list[tuple[str, ...]](), list[int]()
    for i in each(range(corpus.warmup, corpus.warmup + batches), "audit"):
        if i % 4 == 0:
            rows.update(row.ids.tobytes() for row in corpus.batch(i))
        _, played, _ = corpus.games(i, np.random.default_rng((corpus.seed, i)))
        if played.means is not None and played.means.ndim == 2 and played.public.n_arms == ARMS:
            names += played.names or ()
            best += played.means.argmax(axis=1).tolist()
    return {
        "information": _informations(np.array(names), np.array(best)),
        "games": len(best),
        "rows": rows.total(),
        "repeated": sum(n - 1 for n in rows.values()),
    }


def _informations(names: Any, best: Ints) -> dict[str, dict[str, float]]:
    """Chance puts the best arm, or for the last one the labels, anywhere in each game."""
    rng = np.random.default_rng(0)
    labels = np.unique(names, return_inverse=True)[1].reshape(names.shape)
    places = np.broadcast_to(np.arange(ARMS), labels.shape)
    wins = [np.eye(ARMS, dtype=int)[k] for k in (best, *rng.integers(ARMS, size=(SHUFFLES, len(best))))]
    mixed = [labels, *(rng.permuted(labels, axis=1) for _ in range(SHUFFLES))]
    return {
        "place and best": _beside([information(places, won) for won in wins]),
        "label and best": _beside([information(labels, won) for won in wins]),
        "label and place": _beside([information(label, places) for label in mixed]),
    }


def _beside(nats: list[float]) -> dict[str, float]:
    """The first one beside the others, which are chance's."""
    own, chance = nats[0], np.array(nats[1:])
    return {"nats": own, "by chance": float(chance.mean()), "p": float((1 + (chance >= own).sum()) / len(nats))}


def information(first: Ints, second: Ints) -> float:
    """Mutual information of two arrays of codes, in nats."""
    codes = first.ravel() * (second.max() + 1) + second.ravel()
    counts = np.bincount(codes, minlength=(first.max() + 1) * (second.max() + 1)).reshape(-1, second.max() + 1)
    joint: Floats = counts / counts.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    some = joint > 0
    return float((joint[some] * np.log(joint[some] / apart[some])).sum())
