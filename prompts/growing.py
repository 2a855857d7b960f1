"""What is shown of an append-only history: it knows at once what it keeps, and what a budget takes never comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from icrl.envs.types import Bools, Floats, Ints
from icrl.prompts.budget import advanced
from icrl.prompts.buffer import Buffer
from icrl.prompts.history import History
from icrl.prompts.pieces import Tokens

_ONE_GAME = np.zeros(2, np.int64)


@dataclass(frozen=True)
class Growing:
    """R conversations; a row holds the steps that are shown and no others, so a step costs the same at any time.

    Arrays and lists are advanced in place.
    """

    history: History
    buffer: Buffer
    """The head and the steps that are shown of each row, and behind them the tail of the moment."""
    head: Ints
    """[R] length of the head."""
    room: Ints | None
    """[R] tokens that a budget leaves for steps."""
    sizes: list[list[int]]
    """Of each row, the tokens of each step that is shown; kept with a budget only."""
    dropped: Ints
    """[R] steps that the budget has taken."""

    @classmethod
    def begin(cls, history: History, heads: Sequence[Tokens], room: Ints | None) -> Self:
        """No steps yet.

        Args:
            history: An append-only one, or a summary: it has no steps, since its lines are told in the tail.
            heads: What stands before the steps of each row.
            room: [R] tokens that a budget leaves for steps; None without a budget.
        """
        buffer = Buffer.of(heads)
        return cls(history, buffer, buffer.ends, room, [[] for _ in heads], np.zeros_like(buffer.ends))

    def asked(self, episode: Ints, tails: Sequence[Tokens]) -> tuple[Self, list[Tokens]]:
        """What each row's model is to read now, as views of the buffer."""
        longer, prompts = self.buffer.with_tails(tails)
        return replace(self, buffer=longer), prompts

    def answered(self, episode: Ints, steps: Sequence[Sequence[Tokens]], reward: Floats) -> Self:
        """One step later."""
        kept = self.history.keeps(0, episode, reward[:, None], _ONE_GAME)[:, 0].tolist()
        grown = self.buffer.appended([step if keep else () for step, keep in zip(steps, kept, strict=True)])
        if self.room is not None:
            for sizes, size, keep in zip(self.sizes, (grown.ends - self.buffer.ends).tolist(), kept, strict=True):
                sizes += [size] * keep
            for row in np.flatnonzero(grown.ends - self.head > self.room).tolist():
                self._shorten(grown, row, int(self.room[row]))
        return replace(self, buffer=grown)

    def _shorten(self, buffer: Buffer, row: int, room: int) -> None:
        """Takes the oldest steps out of a row. It depends on the past only, so that it can be folded."""
        sizes = self.sizes[row]
        count = advanced(0, np.array(sizes), room)
        buffer.cut(row, int(self.head[row]), sum(sizes[:count]))
        self.dropped[row] += count
        del sizes[:count]

    def take(self, rows: Bools) -> Self:
        """Keeps the rows of episodes that go on."""
        room = None if self.room is None else self.room[rows]
        sizes = [self.sizes[row] for row in np.flatnonzero(rows).tolist()]
        buffer, head, dropped = self.buffer.take(rows), self.head[rows], self.dropped[rows]
        return replace(self, buffer=buffer, head=head, room=room, sizes=sizes, dropped=dropped)
