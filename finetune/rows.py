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
from icrl.prompts.writer import Tokens, Writer

IGNORE = -100


@dataclass(frozen=True)
class Row:
    """One training sequence; `labels` is IGNORE where nothing is to be learnt."""

    ids: Tokens
    labels: Tokens


def stem_row(writer: Writer, episodes: Episodes, b: int, teacher: Ints, steps: int, *, world: bool = False) -> Row:
    """All `steps` decisions of a raw history in one row; a log also ends with its question and the next answer.

    Args:
        writer: Writes the prompt.
        episodes: The player's episodes.
        b: Which of them.
        teacher: [T] the teacher's arm at each step of this history; -1 for none.
        steps: How many steps are shown; a log needs the teacher's arm at step `steps` too.
        world: Also learn what the world answers: to foresee the reward of an arm is to know its value.
    """
    names = _names(episodes)[b]
    head = writer.head(names)
    ids, labels = [head], [np.full(len(head), IGNORE, np.int32)]
    for t in range(steps):
        arm = int(episodes.arms[b, t])
        answer, *told = writer.step(names[arm], names[arm], float(episodes.rewards[b, t]))
        after = np.concatenate(told)
        ids += [answer, after]
        labels += [
            _wanted(writer, names, int(teacher[t]), len(answer)),
            after if world else np.full_like(after, IGNORE),
        ]
        if writer.turns and not world:  # an answer also has to end
            labels[-1][0] = after[0]
    if not writer.turns:
        _answer(writer, names, int(teacher[steps]), ids, labels)
    return Row(np.concatenate(ids), np.concatenate(labels))


def summary_row(writer: Writer, episodes: Episodes, b: int, teacher: Ints, t: int) -> Row:
    """The decision after `t` steps, from a summary of them."""
    names = _names(episodes)[b]
    arms, rewards = episodes.arms[b, :t], episodes.rewards[b, :t]
    ids = [writer.head(names)]
    for arm, name in enumerate(names):
        chosen = arms == arm
        pulls = int(chosen.sum())
        ids += writer.summary(name, pulls, float(rewards[chosen].mean()) if pulls else 0.0)
    labels = [np.full(len(piece), IGNORE, np.int32) for piece in ids]
    _answer(writer, names, int(teacher[t]), ids, labels)
    return Row(np.concatenate(ids), np.concatenate(labels))


def _answer(writer: Writer, names: Sequence[str], arm: int, ids: list[Tokens], labels: list[Tokens]) -> None:
    """Appends the question and the teacher's answer."""
    tail, answer = writer.tail(), np.array(writer.choices(names)[arm], np.int32)
    ids += [tail, answer]
    labels += [np.full(len(tail), IGNORE, np.int32), answer]


def _wanted(writer: Writer, names: Sequence[str], arm: int, width: int) -> Tokens:
    """The teacher's label; beyond its first token only where nothing else could stand there."""
    wanted = np.full(width, IGNORE, np.int32)
    if arm >= 0 and width:
        wanted[0] = writer.encode(names[arm])[0]
    return wanted


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
