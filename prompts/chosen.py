"""What is shown of a history that chooses its steps anew each time: windows, random steps, the last games."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from icrl.envs.types import Bools, Floats, Ints
from icrl.prompts.budget import trimmed
from icrl.prompts.buffer import Buffer
from icrl.prompts.history import History
from icrl.prompts.pieces import Tokens


@dataclass(frozen=True)
class Chosen:
    """R conversations; a row holds all steps, and a prompt is put together from those that are shown."""

    history: History
    seed: int
    game: int | None
    """Steps of one game."""
    buffer: Buffer
    """The head and all steps of each row."""
    marks: Ints
    """[R, 1 + t] where each step begins, and the last one ends."""
    rewards: Floats
    """[R, t]"""
    room: Ints | None
    """[R] tokens that a budget leaves for steps."""
    dropped: Ints
    """[R] steps that the history would show now, but the budget does not."""

    @classmethod
    def begin(cls, history: History, heads: Sequence[Tokens], room: Ints | None, seed: int, game: int | None) -> Self:
        """No steps yet, behind these heads; the rest are fields."""
        buffer = Buffer.of(heads)
        none = np.zeros((len(heads), 0))
        return cls(history, seed, game, buffer, buffer.ends[:, None], none, room, np.zeros_like(buffer.ends))

    def asked(self, episode: Ints, tails: Sequence[Tokens]) -> tuple[Self, list[Tokens]]:
        """What each row's model is to read now."""
        t = self.rewards.shape[1]
        game = np.arange(t + 1) // (self.game or t + 1)
        kept = self.history.keeps(self.seed, episode, self.rewards, game)
        shown = self._fitting(kept)
        prompts = [self._shown(*row) for row in zip(range(len(tails)), shown, tails, strict=True)]
        return replace(self, dropped=(kept & ~shown).sum(axis=1)), prompts

    def _fitting(self, kept: Bools) -> Bools:
        """[R, t] the steps that fit into the budget, of those that the history keeps."""
        if self.room is None:
            return kept
        rows = zip(kept, np.diff(self.marks, axis=1), self.room.tolist(), strict=True)
        return np.stack([trimmed(*row, self.history.spares) for row in rows])

    def _shown(self, row: int, shown: Bools, tail: Tokens) -> Tokens:
        """One row's prompt."""
        marks, ids = self.marks[row], self.buffer.ids[row]
        steps = ids[marks[0] : marks[-1]][np.repeat(shown, np.diff(marks))]
        return np.concatenate([ids[: marks[0]], steps, tail])

    def answered(self, episode: Ints, steps: Sequence[Sequence[Tokens]], reward: Floats) -> Self:
        """One step later."""
        buffer = self.buffer.appended(steps)
        marks = np.concatenate([self.marks, buffer.ends[:, None]], axis=1)
        rewards = np.concatenate([self.rewards, reward[:, None]], axis=1)
        return replace(self, buffer=buffer, marks=marks, rewards=rewards)

    def take(self, rows: Bools) -> Self:
        """Keeps the rows of episodes that go on."""
        room = None if self.room is None else self.room[rows]
        arrays = {name: getattr(self, name)[rows] for name in ("marks", "rewards", "dropped")}
        return replace(self, buffer=self.buffer.take(rows), room=room, **arrays)
