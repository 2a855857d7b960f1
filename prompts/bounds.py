"""How many tokens a prompt may have, before anything is drawn: what a window or a budget has to hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icrl.envs.types import View
from icrl.prompts.games import game
from icrl.prompts.hints import lines
from icrl.prompts.history import Summary, Trials, Window
from icrl.prompts.instructions import instructions
from icrl.prompts.writer import Pulled, Seen, Writer

JOINTS = 4
"""Tokens that texts may have more when they are encoded apart."""


@dataclass(frozen=True)
class Bounds:
    """Most tokens of the parts of a prompt.

    Gaussian rewards have no bound; they are taken to lie within 99.99, or 40 standard deviations of the noise, and
    contexts within 99.99. Observations of worlds that speak may be longer.
    """

    head: int
    """Instructions and labels."""
    games: int
    """All demonstrations."""
    body: int | None
    """The past; None: without end, since the task has no horizon, and the history keeps all."""
    tail: int
    answer: int
    """What the model writes, thoughts too."""

    @property
    def least(self) -> int:
        """What cannot be left out, but for the past."""
        return self.head + self.tail + self.answer

    @property
    def longest(self) -> int | None:
        """A whole prompt and its answer."""
        return None if self.body is None else self.least + self.games + self.body


def bounds(writer: Writer) -> Bounds:
    """Bounds that hold whatever is drawn: of labels, arms, rewards, contexts and hints."""
    prompt, public = writer.prompt, writer.public
    widest = sorted(prompt.words, key=lambda word: len(writer.encode(word)))[-public.n_arms :]
    seen = _seen(writer, widest)
    tail = len(writer.tail(seen, _hint(writer, widest)))
    head = len(writer.head(widest))
    games = _games(writer, widest)
    return Bounds(head, games, _body(writer, widest, seen), tail, writer.thought + writer.answer + 1)


def longest(writer: Writer) -> int:
    """Most tokens of a prompt and its answer.

    Raises:
        ValueError: There is no bound, since the task has no horizon and the history no other end; or a budget is too
            small for what cannot be left out.
    """
    found, budget = bounds(writer), writer.prompt.budget
    if budget is None:
        if found.longest is None:
            raise ValueError("horizon: the task has none, so its prompts have no longest one; give them a budget")
        return found.longest
    fixed = found.least + (found.body or 0 if isinstance(writer.prompt.past, Summary) else 0)
    if fixed > budget:
        raise ValueError(f"budget: the instructions, the question and the answer may need {fixed} tokens, got {budget}")
    return budget if found.longest is None else min(found.longest, budget)


def _wide(writer: Writer) -> float:
    return max(99.99, 40 * (writer.public.noise_sd or 0.0))


def _body(writer: Writer, widest: Sequence[str], seen: Seen) -> int | None:
    """Most tokens of the past."""
    history, public, wide = writer.prompt.past, writer.public, _wide(writer)
    pays = (0.0, 1.0) if public.reward == "bernoulli" else (-wide, wide)
    length = public.game
    if isinstance(history, Summary):
        steps = public.horizon or 10**6
        worst = min(pays, key=lambda x: -len(writer.reward(x)))
        last = [worst] * min(history.last, steps)
        tried = writer.summary(widest[-1], max(steps, 1), -wide, wide, last)
        untried = writer.summary(widest[-1], 0, 0.0, 0.0, [])
        return public.n_arms * max(sum(map(len, line)) for line in (tried, untried))
    shown = public.horizon
    if isinstance(history, Window):
        shown = min(shown or np.inf, history.first + history.last)  # type: ignore[assignment]
    if isinstance(history, Trials) and length is not None:
        shown = min(public.horizon or 0, (1 + history.past) * length)
    if shown is None:
        return None
    answer = writer.answer + (writer.thought if writer.keeps else 0)
    chosen: list[Pulled | None] = [(widest[-1],) * public.slots, *([] if writer.prompt.scored else [None])]
    last_of_game = (False, True) if public.trials > 1 else (False,)
    told = {
        over: max(sum(map(len, writer.step(writer.encode(""), c, x, seen, over))) for c in chosen for x in pays)
        for over in last_of_game
    }
    ends = 0 if length is None or public.trials == 1 else -(-int(shown) // length)
    return int(shown) * (told[False] + (answer if writer.turns else 0)) + ends * (told.get(True, 0) - told[False])


def _hint(writer: Writer, widest: Sequence[str]) -> list[str]:
    """The longest hint."""
    if (notes := writer.prompt.notes) is None:
        return []
    k = len(widest)
    numbers = {name: [-_wide(writer)] * k for name in ("value", "bonus", "best", "low", "high")}
    return lines(notes, writer.prompt.story, widest, range(k), numbers, (k - 1,) * writer.public.slots)


def _games(writer: Writer, names: Sequence[str]) -> int:
    """Most tokens of the demonstrations, in labels all as long as the longest of `names`."""
    if (shown := writer.prompt.games) is None:
        return 0
    widest = [names[-1]] * len(names)
    pool = ((part, b) for part in shown.parts for b in range(len(part)))
    most = max(sum(map(len, game(writer, *which, widest))) for which in pool)
    told = instructions(writer.prompt, writer.public, shown.count)[0], instructions(writer.prompt, writer.public)[0]
    return shown.count * most + len(writer.encode(told[0])) - len(writer.encode(told[1])) + JOINTS


def _seen(writer: Writer, names: Sequence[str]) -> Seen:
    """The longest that may be told before a choice."""
    public = writer.public
    k, d = public.n_arms, public.context_dim
    context = np.full((1, k, d) if public.per_arm else (1, d), -99.99) if d else None
    zero = np.zeros(1, np.int64)
    return writer.seen(View(zero, zero, zero, np.ones((1, k), np.bool_), context), [names])[0]
