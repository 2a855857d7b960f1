"""Demonstrations as they look in the prompt of another game: whole episodes, in the labels of that game."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icrl.envs.episodes import Episodes
from icrl.envs.types import View
from icrl.prompts.demonstrations import EXAMPLE, LAST
from icrl.prompts.history import Summary
from icrl.prompts.parse import shares
from icrl.prompts.pieces import Tokens
from icrl.prompts.summary import Totals
from icrl.prompts.writer import Pulled, Writer, pulled


def game(writer: Writer, episodes: Episodes, b: int, names: Sequence[str]) -> list[Tokens]:
    """Episode `b` as pieces, in the labels [K] of the game that is to come."""
    if isinstance(writer.prompt.past, Summary):
        return _summary(writer, writer.prompt.past, episodes, b, names)
    t, public = int(episodes.lengths[b]), episodes.public
    seen = writer.seen(_views(episodes, b, t), [names] * t)
    rewards, pieces = episodes.rewards[b, :t].tolist(), list[Tokens]()
    for i, pair in enumerate(episodes.arms[b, :t].reshape(t, -1).tolist()):
        chosen = pulled(names, pair)
        step = (_answer(writer, episodes, b, i, chosen, names), chosen, rewards[i], seen[i])
        pieces += writer.last(*step) if i + 1 == t else writer.step(*step, public.ends_game(i))
    return [writer.encode(writer.opening if writer.turns else writer.prompt.story.told(EXAMPLE)), *pieces]


def _views(episodes: Episodes, b: int, t: int) -> View:
    """What was seen before each of the t steps of episode b."""
    return episodes.view(np.full(t, b), np.arange(t))


def _answer(writer: Writer, episodes: Episodes, b: int, t: int, chosen: Pulled | None, names: Sequence[str]) -> Tokens:
    """The labels, or the probabilities where those are asked for: all on what was pulled, if they are unknown."""
    if chosen is None or not writer.prompt.shares:
        return writer.said(chosen)
    probs = np.eye(len(names))[episodes.arms[b, t]]
    if episodes.probs is not None and not np.isnan(episodes.probs[b, t]).any():
        probs = episodes.probs[b, t]
    return np.concatenate([writer.said(()), *map(writer.encode, shares(names, probs.tolist()))])


def _summary(writer: Writer, history: Summary, episodes: Episodes, b: int, names: Sequence[str]) -> list[Tokens]:
    """A summary of the last game of an episode, and its last choice."""
    end = int(episodes.lengths[b])
    length = episodes.public.game or end
    steps = slice((end - 1) // length * length, end)
    arms = episodes.arms[b, steps]
    totals = Totals.of(arms, episodes.rewards[b, steps], len(names), history.last)
    last = () if arms[-1] < 0 else (LAST, names[arms[-1]], "\n")
    example = writer.encode(writer.prompt.story.told(EXAMPLE))
    return [example, *writer.summaries(names, totals.rows()[0]), *map(writer.encode, last)]
