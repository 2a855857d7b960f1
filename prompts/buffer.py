"""Rows of tokens that grow: what stays in each, and behind it, for a moment, what does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from icrl.envs.types import Bools, Ints
from icrl.prompts.pieces import Tokens


@dataclass(frozen=True)
class Buffer:
    """R rows; arrays are advanced in place."""

    ids: Tokens
    """[R, room]"""
    ends: Ints
    """[R] how many tokens of each row stay."""

    @classmethod
    def of(cls, rows: Sequence[Tokens]) -> Self:
        """Rows that hold these tokens."""
        nothing = cls(np.zeros((len(rows), 0), np.int32), np.zeros(len(rows), np.int64))
        return nothing.appended([(row,) for row in rows])

    def appended(self, pieces: Sequence[Sequence[Tokens]]) -> Self:
        """Each row longer by its pieces."""
        ends = self.ends + np.array([sum(map(len, row)) for row in pieces], np.int64)
        ids, need = self.ids, int(ends.max())
        if need > ids.shape[1]:
            ids = np.pad(ids, ((0, 0), (0, 2 * need - ids.shape[1])))
        for row, (start, parts) in enumerate(zip(self.ends.tolist(), pieces, strict=True)):
            for part in parts:
                ids[row, start : start + len(part)] = part
                start += len(part)
        return replace(self, ids=ids, ends=ends)

    def with_tails(self, tails: Sequence[Tokens]) -> tuple[Self, list[Tokens]]:
        """Rows with something behind them, as views: what is appended next is written over it."""
        longer = self.appended([(tail,) for tail in tails])
        rows = [longer.ids[row, :end] for row, end in enumerate(longer.ends.tolist())]
        return replace(longer, ends=self.ends), rows

    def cut(self, row: int, start: int, count: int) -> None:
        """Takes tokens out of a row."""
        end = int(self.ends[row])
        self.ids[row, start : end - count] = self.ids[row, start + count : end]
        self.ends[row] = end - count

    def take(self, rows: Bools) -> Self:
        """Keeps some rows."""
        return replace(self, ids=self.ids[rows], ends=self.ends[rows])
