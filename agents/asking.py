"""One step of a language model: the policy over the labels, read from its probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from icrl.agents.dice import drawn_from
from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import USAGE, Choice, Floats, Ints, View
from icrl.models.base import Answer, Choices, Model, Query
from icrl.models.steering import Steer
from icrl.prompts.pieces import Tokens
from icrl.prompts.scenario import AND
from icrl.prompts.talk import Talk
from icrl.prompts.writer import pulled

Key: TypeAlias = tuple[int, int]
DRAWS = 1 << 32
"""Added to the number of a draw, so that it is none of the other words of a key."""


@dataclass(frozen=True)
class Asked:
    """What R rows are asked at one step."""

    model: Model
    temperature: float
    talk: Talk
    view: View
    prompts: Sequence[Tokens]
    """[R] up to where the answer begins."""
    steers: Sequence[Steer | None]
    """[R] how the answer, and a thought before it, is steered."""
    draw: int = 0
    """Which of several answers to the same prompts."""

    @property
    def keys(self) -> list[Key]:
        """[R] which conversation each row is, for caches."""
        return [(self.talk.seed, int(e)) for e in self.view.episode]

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens that end what a model writes: what stands behind an answer, and the tokenizer's marks."""
        return tuple({self.talk.writer.end, *self.model.tokenizer.all_special_ids})

    def luck(self, stream: Stream, *words: int) -> tape.Keys:
        """[R] one key per (seed, episode, t) and draw."""
        draw = (DRAWS + self.draw,) if self.draw else ()
        return tape.key(self.talk.seed, stream, self.view.episode, self.view.t, *words, *draw)


def scored(asked: Asked) -> Choice:
    """Draws from the policy over the labels; of a pair, the second arm after the first."""
    writer, names = asked.talk.writer, asked.talk.names
    rows, k, slots = *asked.view.legal.shape, writer.public.slots
    arms, probs = np.zeros((rows, slots), np.int64), np.zeros((rows, slots, k))
    mass, usage = np.zeros((rows, slots)), np.zeros((rows, len(USAGE)), np.int64)
    prompts = asked.prompts
    for slot in range(slots):
        answers = asked.model.ask(_questions(asked, prompts, slot))
        probs[:, slot][there(asked)] = np.exp(np.concatenate([a.logp for a in answers]))
        arms[:, slot] = inverse(probs[:, slot], asked, slot)
        mass[:, slot] = [a.mass for a in answers]
        usage += spent(answers)
        if slot + 1 < slots:
            said = [row[arm] for row, arm in zip(names, arms[:, slot].tolist(), strict=True)]
            rest = writer.encode(AND)
            prompts = [np.concatenate([ids, writer.encode(s), rest]) for ids, s in zip(prompts, said, strict=True)]
    text = tuple(AND.join(labels or ()) for labels in map(pulled, names, arms.tolist()))
    return Choice(arms, probs, mass, "exact", text, failed=np.zeros(rows, np.int64), usage=usage)


def spent(answers: Sequence[Answer], thought: bool = False) -> Ints:
    """[R, 4] the tokens of answers, or of thoughts, in the order of USAGE."""
    read, written = np.array([a.usage[:2] for a in answers]), np.array([[a.usage[2]] for a in answers])
    return np.hstack([read, np.where([[not thought, thought]], written, 0)])


def there(asked: Asked) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """[R, K] arms that may be named; tasks whose arms never go need no look."""
    legal = asked.view.legal
    return legal if asked.talk.writer.public.variable else np.ones_like(legal)


def allowed(asked: Asked, slot: int = 0) -> list[Choices]:
    """[R] the labels of the arms that are there."""
    rows = zip(asked.talk.choices, there(asked).tolist(), strict=True)
    return [tuple(c for c, here in zip(choices[slot], own, strict=True) if here) for choices, own in rows]


def _questions(asked: Asked, prompts: Sequence[Tokens], slot: int) -> list[Query]:
    """Which of the arms that are there, for each row."""
    rows = zip(prompts, asked.keys, allowed(asked, slot), asked.steers, strict=True)
    return [Query(ids, key, choices, asked.temperature, steer=steer) for ids, key, choices, steer in rows]


def inverse(probs: Floats, asked: Asked, slot: int = 0) -> Ints:
    """[R] arms drawn from probs [R, K] by inverse transform, one uniform per (seed, episode, t) and slot."""
    words = (0, slot) if slot else ()
    return drawn_from(probs, tape.uniform(asked.luck(Stream.POLICY, *words)))
