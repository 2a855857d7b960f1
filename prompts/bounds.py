"""How many tokens a prompt may have, before anything is drawn: what a window or a budget has to hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from icrl.envs.types import Public, View
from icrl.prompts.demonstrations import NEXT, OWN
from icrl.prompts.games import game
from icrl.prompts.hints import lines
from icrl.prompts.history import History, Summary, Trials, Window
from icrl.prompts.instructions import instructions
from icrl.prompts.writer import Pulled, Seen, Writer

JOINTS = 4
"""Tokens that texts may have more when they are encoded apart."""
PULLS = 10**6
"""What a summary of a task without a horizon may have to count: a number ten times as high has one digit more."""


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


@lru_cache(maxsize=32)
def bounds(writer: Writer) -> Bounds:
    """Bounds that hold whatever is drawn: of labels, arms, rewards, contexts and hints. Worked out once per writer."""
    prompt, public = writer.prompt, writer.public
    widest = sorted(prompt.words, key=lambda word: len(writer.encode(word)))[-public.n_arms :]
    seen = _seen(writer, widest)
    tail = len(writer.tail(seen, _hint(writer, widest)))
    body = _body(writer, widest[-1], seen)
    answer = writer.thought_limit + writer.answer_limit + 1
    return Bounds(len(writer.head(widest)), _games(writer, widest), body, tail, answer)


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


def _body(writer: Writer, widest: str, seen: Seen) -> int | None:
    """Most tokens of the past; `widest` is the longest label."""
    history = writer.prompt.past
    if isinstance(history, Summary):
        return _summary(writer, history, widest)
    steps = _shown(history, writer.public)
    return None if steps is None else _steps(writer, steps, widest, seen)


def _summary(writer: Writer, history: Summary, widest: str) -> int:
    """Most tokens of a line for each arm."""
    pulls, wide = writer.public.horizon or PULLS, _wide(writer)
    worst = max(_pays(writer), key=lambda paid: len(writer.reward(paid)))
    tried = writer.summaries([widest], [(pulls, -wide, wide, [worst] * min(history.last, pulls))])
    untried = writer.summaries([widest], [(0, 0.0, 0.0, [])])
    return writer.public.n_arms * max(sum(map(len, line)) for line in (tried, untried))


def _shown(history: History, public: Public) -> int | None:
    """Most steps that are shown at once; None: without end."""
    most = public.horizon
    if isinstance(history, Window):
        window = history.first + history.last
        return window if most is None else min(most, window)
    if isinstance(history, Trials) and most is not None:
        return min(most, (1 + history.past) * (most // public.trials))
    return most


def _steps(writer: Writer, count: int, widest: str, seen: Seen) -> int:
    """Most tokens of so many steps; those that end a game have more."""
    public, answer = writer.public, 0
    if writer.turns:
        answer = writer.answer_limit + (writer.thought_limit if writer.keeps else len(writer.unthought))
    steps = count * (answer + _step(writer, widest, seen, over=False))
    if public.game is None or public.trials == 1:
        return steps
    more = _step(writer, widest, seen, over=True) - _step(writer, widest, seen, over=False)
    return steps + math.ceil(count / public.game) * more


def _step(writer: Writer, widest: str, seen: Seen, over: bool) -> int:
    """Most tokens of a step without its answer; written answers may be lost."""
    chosen: list[Pulled | None] = [(widest,) * writer.public.slots, *([] if writer.prompt.scored else [None])]
    told = (writer.step(writer.encode(""), c, paid, seen, over) for c in chosen for paid in _pays(writer))
    return max(sum(map(len, pieces)) for pieces in told)


def _pays(writer: Writer) -> tuple[float, float]:
    """The rewards that may be longest."""
    wide = _wide(writer)
    return (0.0, 1.0) if writer.public.reward == "bernoulli" else (-wide, wide)


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
    most += max(len(writer.encode(end)) for end in (NEXT, OWN)) if writer.turns else 0
    told = instructions(writer.prompt, writer.public, shown.count)[0], instructions(writer.prompt, writer.public)[0]
    return shown.count * most + len(writer.encode(told[0])) - len(writer.encode(told[1])) + JOINTS


def _seen(writer: Writer, names: Sequence[str]) -> Seen:
    """The longest that may be told before a choice."""
    public = writer.public
    k, d = public.n_arms, public.context_dim
    context = np.full((1, k, d) if public.per_arm else (1, d), -99.99) if d else None
    zero = np.zeros(1, np.int64)
    return writer.seen(View(zero, zero, zero, np.ones((1, k), np.bool_), context), [names])[0]
