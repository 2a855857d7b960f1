"""What training rows give away or lack, found before anything is trained on them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from icrl.envs import Episodes
from icrl.envs.types import Floats, Ints
from icrl.finetune.labels import taken
from icrl.finetune.rows import IGNORE
from icrl.prompts.scenario import SEPARATOR

SHUFFLES = 500
SURE, NATS = 0.01, 0.01
"""A leak is called one where chance gives as much with at most this probability, and it is so much more than chance's
is on average: a place that tells which of five arms is best gives half a nat."""


@dataclass
class Audit:
    """Collects what is looked at, game by game."""

    games: dict[int, tuple[list[Sequence[str]], list[int]]] = field(default_factory=dict)
    """By number of arms, the labels of each game with one best arm, and this arm's place."""
    apart: list[float] = field(default_factory=list)
    """Of each step, the probability with which who is learnt from would have chosen another arm than was played."""

    def add(self, played: Episodes, taught: Floats | None) -> None:
        """Looks at the games of a batch; only those of one best arm can tell it beforehand."""
        if taught is not None:
            took = taken(played)
            both = (taught.sum(axis=2) > 0) & (took.sum(axis=2) > 0)
            self.apart += (1 - (taught * took).sum(axis=2)[both]).tolist()
        if played.means is None or played.means.ndim != 2 or played.names is None:
            return
        wins = played.means == np.nanmax(played.means, axis=1, keepdims=True)
        for b in np.flatnonzero(wins.sum(axis=1) == 1):
            there = np.flatnonzero(~np.isnan(played.means[b]))  # of a game with fewer arms than its task has
            found = self.games.setdefault(len(there), ([], []))
            found[0].append([played.names[b][k] for k in there])
            found[1].append(int(wins[b, there].argmax()))

    def found(self) -> dict[str, Any]:
        """Information that place and label have about the best arm, and how far players are from the teacher."""
        leaks = _leaks(self)
        odd = [best % 2 == 0 for _, bests in self.games.values() for best in bests]
        return {
            "games": len(odd),
            "leaks": leaks,
            "best at an odd place": float(np.mean(odd)) if odd else None,
            "divergence of context and teacher": float(np.mean(self.apart)) if self.apart else None,
            "passed": not any(map(_tells, leaks.values())),
        }


def _tells(found: dict[str, float]) -> bool:
    return found["nats"] - found["by chance"] > NATS and found["p"] < SURE


def _leaks(audit: Audit) -> dict[str, dict[str, float]]:
    """What place and label tell, on average over games of all numbers of arms; nothing if there were no games."""
    if not audit.games:
        return {}
    found = [leak(np.array(names), np.array(best), np.random.default_rng(0)) for names, best in audit.games.values()]
    games = np.array([len(best) for _, best in audit.games.values()])
    share = games / games.sum()
    return {what: beside(share @ np.array([one[f"{what} and best"] for one in found])) for what in ("place", "label")}


def leak(names: Any, best: Ints, rng: np.random.Generator) -> dict[str, Floats]:
    """Mutual information in nats, followed by draws of what chance alone would give: see `beside`.

    Args:
        names: [B, K] labels.
        best: [B] best arms.
        rng: Puts the best arm anywhere in each game, which is chance.

    Returns:
        Of place and best, and of label and best.
    """
    labels, places = _codes(names)
    arms = labels.shape[1]
    wins = [np.eye(arms, dtype=int)[k] for k in (best, *rng.integers(arms, size=(SHUFFLES, len(best))))]
    told = {"place and best": places, "label and best": labels}
    return {what: np.array([information(codes, won) for won in wins]) for what, codes in told.items()}


def placed(names: Any, rng: np.random.Generator) -> Floats:
    """What labels [B, K] and their places tell of each other, as `leak` does; `rng` mixes the labels of each game."""
    labels, places = _codes(names)
    mixed = [labels, *(rng.permuted(labels, axis=1) for _ in range(SHUFFLES))]
    return np.array([information(codes, places) for codes in mixed])


def _codes(names: Any) -> tuple[Ints, Ints]:
    """[B, K] a number for each label, and the arms' places."""
    labels = np.unique(names, return_inverse=True)[1].reshape(names.shape)
    return labels, np.broadcast_to(np.arange(names.shape[1]), labels.shape)


def beside(nats: Floats) -> dict[str, float]:
    """The first one beside the others, which are chance's: their mean, and a permutation test's p-value."""
    own, chance = float(nats[0]), nats[1:]
    return {"nats": own, "by chance": float(chance.mean()), "p": float((1 + (chance >= own).sum()) / len(nats))}


def information(first: Ints, second: Ints) -> float:
    """Mutual information of two arrays of codes, in nats."""
    codes = first.ravel() * (second.max() + 1) + second.ravel()
    counts = np.bincount(codes, minlength=(first.max() + 1) * (second.max() + 1)).reshape(-1, second.max() + 1)
    joint: Floats = counts / counts.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    some = joint > 0
    return float((joint[some] * np.log(joint[some] / apart[some])).sum())


def _is_label(text: str, known: Collection[str]) -> bool:
    """Of some only the first token is learnt."""
    said = text.strip()
    return bool(said) and any(name.startswith(said) for name in known)


def spans(rows: Iterable[Mapping[str, Any]], decode: Any, known: Collection[str]) -> list[str]:
    """Texts that are learnt as answers and are neither a label nor a pair of them, each once.

    Args:
        rows: See `icrl.finetune.rows`.
        decode: Of the tokenizer.
        known: All labels.
    """
    odd = dict[str, None]()
    for row in rows:
        labels = np.asarray(row["labels"])
        for at in row["at"]:
            end = at + 1 + int(np.argmax(np.append(labels[at + 1 :], IGNORE) == IGNORE))
            text = decode([int(labels[at])] if end == at + 1 else labels[at : end - 1].tolist())
            if not (_is_label(text, known) or all(_is_label(part, known) for part in text.split(SEPARATOR))):
                odd[text] = None
    return list(odd)
