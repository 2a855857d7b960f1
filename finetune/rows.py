"""From episodes to training rows: token ids, and which of them are to be predicted.

The ids come from the `Writer` that also plays, so a row holds the very tokens that a model meets in play. A label may
differ from the token that stands there: the history is the player's, the label the teacher's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icrl.envs import Episodes
from icrl.envs.types import Ints, Names
from icrl.prompts.history import Raw, Summary
from icrl.prompts.pieces import Tokens
from icrl.prompts.summary import Totals
from icrl.prompts.writer import Writer, pulled

IGNORE = -100


@dataclass(frozen=True)
class Row:
    """One training sequence; `labels` is IGNORE where nothing is to be learnt."""

    ids: Tokens
    labels: Tokens
    choices: Tokens
    """[K] first token of each answer that is allowed."""


def stem_row(writer: Writer, episodes: Episodes, b: int, teacher: Ints, steps: int) -> Row:
    """A raw history in one row: of a chat all `steps` decisions; of a log, whose lines hold none, the one after it.

    Args:
        writer: Writes the prompt.
        episodes: The player's episodes.
        b: Which of them.
        teacher: [T] the teacher's arm at each step of this history, -1 for none; a log needs the one at step `steps`.
        steps: How many steps are shown.
    """
    _plain(writer, Raw)
    names = _names(episodes)[b]
    ids = [writer.head(names)]
    labels = [np.full_like(ids[0], IGNORE)]
    for t in range(steps):
        chosen = pulled(names, [int(episodes.arms[b, t])])
        text = None if episodes.text is None else str(episodes.text[b, t])
        said = writer.said(chosen, text, None if episodes.ids is None else episodes.ids[b, t])
        pieces = writer.step(said, chosen, float(episodes.rewards[b, t]))
        ids += pieces
        labels += [np.full_like(piece, IGNORE) for piece in pieces]
        if writer.turns and teacher[t] >= 0:
            _teach(writer, pieces, labels[-len(pieces) :], names[int(teacher[t])])
    if not writer.turns:
        _answer(writer, names, int(teacher[steps]), ids, labels)
    return Row(np.concatenate(ids), np.concatenate(labels), _choices(writer, names))


def _plain(writer: Writer, history: type[Raw] | type[Summary]) -> None:
    """Raises ValueError for prompts whose rows would not be what is read in play."""
    prompt, public = writer.prompt, writer.public
    plain = isinstance(prompt.past, history) and not (writer.asks or writer.shows or prompt.games or prompt.hints)
    if not plain or prompt.thinks or prompt.shares or prompt.budget or public.trials > 1 or public.slots > 1:
        raise ValueError(
            f"prompt: a row holds a {history.model_fields['kind'].default} history without hints, demonstrations, "
            "thoughts, distributions and budgets, of a task that shows nothing, has one game, and asks for one arm"
        )


def _teach(writer: Writer, pieces: Sequence[Tokens], labels: Sequence[Tokens], wanted: str) -> None:
    """The teacher's answer instead of the player's, as far as one token tells it; and an answer has to end."""
    if len(labels[0]):  # a free answer may be empty
        labels[0][0], labels[1][0] = writer.encode(wanted)[0], pieces[1][0]


def summary_row(writer: Writer, episodes: Episodes, b: int, teacher: Ints, t: int) -> Row:
    """The decision after `t` steps, from a summary of them."""
    names = _names(episodes)[b]
    arms, rewards = episodes.arms[b, :t], episodes.rewards[b, :t]
    _plain(writer, Summary)
    history = writer.prompt.past
    assert isinstance(history, Summary)
    totals = Totals.of(arms, rewards, len(names), history.last)
    ids = [writer.head(names), *writer.summaries(names, totals.rows()[0])]
    labels = [np.full(len(piece), IGNORE, np.int32) for piece in ids]
    _answer(writer, names, int(teacher[t]), ids, labels)
    return Row(np.concatenate(ids), np.concatenate(labels), _choices(writer, names))


def _answer(writer: Writer, names: Sequence[str], arm: int, ids: list[Tokens], labels: list[Tokens]) -> None:
    """Appends the question and the teacher's answer."""
    if arm < 0:
        raise ValueError("teacher: it has no arm (-1) for the only decision of this row; leave the row out")
    tail, answer = writer.tail(), np.array(writer.choices(names)[0][arm], np.int32)
    ids += [tail, answer]
    labels += [np.full(len(tail), IGNORE, np.int32), answer]


def _choices(writer: Writer, names: Sequence[str]) -> Tokens:
    return np.array([choice[0] for choice in writer.choices(names)[0]], np.int32)


def _names(episodes: Episodes) -> Names:
    if episodes.names is None:
        raise ValueError("episodes: they have no names, so nothing can be written; give them labels first")
    return episodes.names


def pad(rows: Sequence[Row], fill: int) -> tuple[Tokens, Tokens]:
    """Ids and labels as rectangles, padded on the right."""
    width = max(len(row.ids) for row in rows)
    ids = np.full((len(rows), width), fill, np.int32)
    labels = np.full((len(rows), width), IGNORE, np.int32)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = row.ids
        labels[i, : len(row.ids)] = row.labels
    return ids, labels
