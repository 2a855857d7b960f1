"""What a budget of tokens leaves out: whole demonstrations first, then the oldest steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icrl.envs.types import Bools, Ints
from icrl.prompts.bounds import bounds
from icrl.prompts.pieces import Tokens
from icrl.prompts.writer import Writer


def fitting(writer: Writer, names: Sequence[str], games: Sequence[Sequence[Tokens]]) -> Sequence[Sequence[Tokens]]:
    """The first demonstrations that leave room for the longest history, or for half of the budget if it has no end."""
    if (budget := writer.prompt.budget) is None:
        return games
    known = bounds(writer)
    room = budget - known.tail - known.answer - (budget // 2 if known.body is None else known.body)
    counts = range(len(games), 0, -1)
    return next((games[:n] for n in counts if len(writer.head(names, games[:n])) <= room), ())


def left(writer: Writer, heads: Sequence[Tokens]) -> Ints | None:
    """[R] tokens that a budget leaves for steps, behind these heads; None without a budget."""
    if (budget := writer.prompt.budget) is None:
        return None
    known = bounds(writer)
    return budget - known.tail - known.answer - np.array([len(head) for head in heads])


def advanced(cut: int, sizes: Ints, room: int) -> int:
    """The first step that is shown: where it was, as long as all since then fits, else where half of the room is used.

    So the beginning of a prompt stays for many steps, and a cache with it.

    Args:
        cut: Where it was.
        sizes: [t] tokens of each step; 0 for those that are not shown.
        room: For all steps.
    """
    since = sizes[cut:][::-1].cumsum()[::-1]
    if not len(since) or since[0] <= room:
        return cut
    return cut + int((since > room // 2).sum())


def trimmed(shown: Bools, sizes: Ints, room: int, spared: int) -> Bools:
    """[t] which steps are shown, after the oldest ones have gone; the first `spared` go last.

    Args:
        shown: [t] those that the history keeps.
        sizes: [t] tokens of each step.
        room: For all steps.
        spared: How many of the first ones a window keeps.
    """
    order = np.concatenate([np.arange(spared, len(sizes)), np.arange(min(spared, len(sizes)))])
    left = np.where(shown, sizes, 0)[order][::-1].cumsum()[::-1]
    kept = shown.copy()
    kept[order[left > room]] = False
    return kept
