"""From a model's text to an arm or to probabilities, as a fair reader would read it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from icrl.envs.types import Floats

TOLERANCE = 0.05
"""How far from 1 written probabilities may sum, since they are rounded."""


def _plain(text: str, names: Sequence[str]) -> str:
    """A text without case, and without emphasis by underscores, which count as letters: `__red__`."""
    text = text.casefold()
    if any(name.startswith("_") for name in names):
        return text
    return re.sub(r"(?<!\w)(_{1,3})(?=[^\W_])(.+?)(?<=[^\W_])\1(?!\w)", r"\2", text)


def shares(names: Sequence[str], probs: Sequence[float]) -> list[str]:
    """What `distribution` reads: a line for each arm, as texts that are encoded apart."""
    return [text for name, p in zip(names, probs, strict=True) for text in (name, f": {p:.2f}", "\n")][:-1]


def _any(names: Iterable[str]) -> str:
    """A pattern of any of these; of names that contain others, the longer one is read."""
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


def parse(text: str, names: Sequence[str]) -> int:
    """The arm that a free answer names; -1 if it names none, or more than one.

    See `parse_all` for what counts as a name.
    """
    return parse_all(text, names, 1)[0]


def parse_all(text: str, names: Sequence[str], slots: int) -> tuple[int, ...]:
    """The arms that a free answer names, in its order; -1 for each slot if there are more or fewer than `slots`.

    An answer to a duel may name one arm twice; else a label that comes again counts once.

    A label counts wherever it stands as a word of its own, in any case and in any quotes or markup: `**Red**`,
    "I choose the red button". Where one label contains another ("navy blue", "blue"), the longer one is read.
    """
    arm_of = {name.casefold(): arm for arm, name in enumerate(names)}
    named = [arm_of[label] for label in re.findall(rf"(?<!\w)(?:{_any(arm_of)})(?!\w)", _plain(text, names))]
    arms = named if len(named) == slots else list(dict.fromkeys(named))
    return tuple(arms) if len(arms) == slots else (-1,) * slots


def distribution(text: str, names: Sequence[str]) -> Floats | None:
    """[K] the probabilities that a written distribution tells; None if it tells none, or contradicts itself.

    Each label is read with the number that follows it on its line, a word may stand between: `red: 0.25`, `**Red** -
    25%`, `"red": .25,`, `red button 0.25`. A comma or a semicolon ends what is said of a label. Labels that are not
    told have probability 0; a label told twice with different numbers, a negative number, or a sum that is further
    than 0.05 from 1 (or 5 from 100, for percentages) is no distribution.
    """
    known = [name.casefold() for name in names]
    number = r"(-?\d*\.?\d+)(?!\w|\.\d)[ ]?(%?)"
    gap = r"[^\w\n.,;+-]*"
    between = rf"{gap}(?:(?!(?:{_any(known)})\b)[^\W\d_]+{gap})?(?:[-\u2013\u2014]\s+)?"
    found = re.findall(rf"(?<!\w)({_any(known)})(?!\w){between}{number}", _plain(text, names))
    told: dict[str, float] = {}
    for label, value, _ in found:
        if told.setdefault(label, float(value)) != float(value):
            return None
    shares = np.array([told.get(name, 0.0) for name in known])
    whole = 100.0 if shares.sum() > 1.5 or any(percent for *_, percent in found) else 1.0
    if not told or (shares < 0).any() or abs(shares.sum() / whole - 1) > TOLERANCE:
        return None
    normalised: Floats = shares / shares.sum()
    return normalised
