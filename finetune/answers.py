"""What the players of the diaries say: labels, thoughts with the numbers behind a choice, or probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from icrl.agents import UCB
from icrl.agents.base import AnyAgent
from icrl.envs import Episodes
from icrl.finetune.diary import Answers
from icrl.prompts.parse import shares as written
from icrl.prompts.pieces import Tokens
from icrl.prompts.summary import Totals
from icrl.prompts.writer import Pulled, Writer, pulled

NOTHING = "Nothing is known yet.\n"
BEST = "Best so far: "


def labels(writer: Writer, played: Episodes) -> Answers:
    """What was pulled."""

    def said(t: int) -> list[Tokens]:
        return [np.concatenate(writer.label(chosen)) for chosen in _chosen(played, t)]

    return said


def shares(writer: Writer, played: Episodes) -> Answers:
    """The probabilities from which the player drew."""
    probs, names = played.probs, played.names
    assert probs is not None and names is not None

    def said(t: int) -> list[Tokens]:
        rows = zip(names, probs[:, t].tolist(), strict=True)
        return [np.concatenate([writer.encode(text) for text in written(row, p)]) for row, p in rows]

    return said


def thoughts(writer: Writer, played: Episodes, player: AnyAgent, wrong: float, rng: Generator) -> Answers:
    """Pulls, means and UCB's index of the arms that were tried, which one is best so far, and then what was pulled.

    Args:
        writer: Of the prompt.
        played: The episodes.
        player: Who played.
        wrong: Probability of a mean that is drawn instead of counted.
        rng: Of what is wrong.
    """
    names = played.names
    assert names is not None
    totals, c = Totals.none(len(played), played.public.n_arms), player.c if isinstance(player, UCB) else None

    def said(t: int) -> list[Tokens]:  # called once for each step, in order
        if t:
            totals.add(played.arms[:, t - 1], played.rewards[:, t - 1])
        found = []
        for row, known, chosen in zip(names, totals.rows(), _chosen(played, t), strict=True):
            tried = [(k, n, _mean(m, wrong, rng)) for k, (n, m, *_) in enumerate(known) if n]
            thought = _thought(writer, row, tried, c) if tried else [writer.encode(NOTHING)]
            found.append(np.concatenate([*thought, writer.closing("\n"), *writer.label(chosen)]))
        return found

    return said


def _mean(mean: float, wrong: float, rng: Generator) -> float:
    return mean if rng.random() >= wrong else mean + float(rng.normal(scale=0.3))


def _thought(
    writer: Writer, names: Sequence[str], tried: Sequence[tuple[int, int, float]], c: float | None
) -> list[Tokens]:
    """A line for each arm that was tried, and the arm with the highest mean."""
    pieces: list[Tokens] = []
    for k, n, mean in tried:
        index = "" if c is None else f", index {mean + (c / n) ** 0.5:.2f}"
        text = writer.texts["tried"].replace("{pulls}", str(n)).replace("{mean}", f"{mean:.2f}{index}")
        pieces += writer.told(text, (names[k],))
    best = max(tried, key=lambda arm: arm[2])[0]
    return [*pieces, writer.encode(BEST), writer.encode(names[best]), writer.encode(".\n")]


def _chosen(played: Episodes, t: int) -> list[Pulled]:
    arms = played.arms[:, t].reshape(len(played), -1)
    if (arms < 0).any():
        raise ValueError(
            f"episodes: at step {t} an episode has no answer that could be read, so there is none to learn"
        )
    return [pulled(names, pair) or () for names, pair in zip(played.names or (), arms.tolist(), strict=True)]
