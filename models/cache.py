"""A key-value cache for a batch of conversations that grow unevenly.

All rows share columns. A row that has fewer new tokens than the others leaves holes, which the attention mask hides
until they are too many; positions count a row's own tokens only. Buffers grow by doubling and are written in place:
stock dynamic caches copy everything they hold at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.cache_utils import Cache, DynamicLayer

from icrl.models.base import Tokens, common
from icrl.models.steering import Steer, alike

SPARSE = 3
"""Columns in use per token of the longest row at which it pays to close the holes."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers counts as untyped
    """One layer's keys and values [R, heads, columns, d] at the front of larger buffers."""

    def __init__(self) -> None:
        """Empty; shapes and types come with the first states."""
        super().__init__()
        self.columns = 0
        self.room: list[torch.Tensor] = []

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Appends columns; returns all of them."""
        states = (key_states, value_states)
        if not self.is_initialized:
            self.lazy_initialization(*states)
            self.room = [x[:, :, :0] for x in states]
        end = self.columns + key_states.shape[2]
        if end > self.room[0].shape[2]:
            self.room = [_grown(old, new, max(64, 2 * end)) for old, new in zip(self.room, states, strict=True)]
        for room, new in zip(self.room, states, strict=True):
            room[:, :, self.columns : end] = new
        self.columns = end
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values

    def take(self, rows: torch.Tensor) -> GrowingLayer:
        """A copy of some rows."""
        taken = GrowingLayer()
        room = [x[rows.to(x.device)] for x in self.room]
        if room:
            taken.lazy_initialization(*room)
        taken.room, taken.columns = room, self.columns
        return taken

    def get_seq_length(self) -> int:
        """Columns in use."""
        return self.columns


def _grown(old: torch.Tensor, like: torch.Tensor, size: int) -> torch.Tensor:
    new = like.new_empty((*like.shape[:2], size, like.shape[3]))
    new[:, :, : old.shape[2]] = old
    return new


def _like(order: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """Columns [R, n] as an index [R, heads, n, d] into `states`."""
    return order.to(states.device)[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3])


class Lanes:
    """What a model has read of R conversations: their tokens, and where each token's keys and values lie."""

    def __init__(self, keys: tuple[object, ...], layers: list[GrowingLayer]) -> None:
        """Nothing read yet."""
        self.keys = keys
        self.layers = layers
        self.cache = Cache(layers=[*self.layers])
        self.length = np.zeros(len(keys), np.int64)
        self.steers: list[Steer | None] = [None] * len(keys)
        self._ids = np.zeros((len(keys), 0), np.int32)
        self._valid = torch.zeros((len(keys), 0), dtype=torch.bool)
        self._columns = 0

    @property
    def bytes(self) -> int:
        """Size of the buffers."""
        return sum(x.numel() * x.element_size() for layer in self.layers for x in layer.room)

    def common(self, row: int, ids: Tokens, steer: Steer | None = None) -> int:
        """How many first tokens of `ids` this row has read, steered alike; at least the last is left to read."""
        same = common(self._ids[row, : self.length[row]], ids[:-1])
        return int(min(same, alike(steer, self.steers[row])))

    def rewind(self, keep: NDArray[np.int64]) -> None:
        """Forgets all but the first `keep` [R] tokens of each row."""
        for row in np.flatnonzero(keep < self.length):
            columns = torch.nonzero(self._valid[row, : self._columns])[:, 0]
            self._valid[row, columns[int(keep[row]) :]] = False
        if (keep < self.length).any():
            used = torch.nonzero(self._valid[:, : self._columns].any(dim=0))
            self._set_columns(int(used[-1]) + 1 if len(used) else 0)
        self.length = keep.copy()
        if self._columns > SPARSE * max(int(keep.max()), 1):
            self._compact()

    def _compact(self) -> None:
        """Moves each row's tokens to the front: rows that forget unequally (summaries) leave ever more holes."""
        longest = int(self.length.max())
        order = torch.argsort(~self._valid[:, : self._columns], dim=1, stable=True)[:, :longest]
        for layer in self.layers:
            layer.room = [x.gather(2, _like(order, x)) for x in layer.room]
        self._valid = torch.from_numpy(np.arange(longest) < self.length[:, None])
        self._set_columns(longest)

    def _set_columns(self, columns: int) -> None:
        self._columns = columns
        for layer in self.layers:
            layer.columns = columns

    def take(self, rows: NDArray[np.int64]) -> Lanes:
        """A copy of some rows."""
        index = torch.from_numpy(rows)
        taken = Lanes(tuple(self.keys[r] for r in rows), [layer.take(index) for layer in self.layers])
        taken.length, taken._ids, taken._valid = self.length[rows], self._ids[rows], self._valid[index]
        taken._columns, taken.steers = self._columns, [self.steers[r] for r in rows]
        return taken

    def add(self, new: list[Tokens], steers: Sequence[Steer | None]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Makes room for new tokens of each row, padded on the left.

        Args:
            new: [R] tokens.
            steers: [R] what their states, and those of the tokens before, are steered by.

        Returns:
            Token ids [R, q], their positions [R, q], and who may see whom, bool[R, 1, q, columns].
        """
        counts = np.array([len(ids) for ids in new])
        q, start = int(counts.max()), self._columns
        self._reserve(start + q, int((self.length + counts).max()))
        ids = np.zeros((len(new), q), np.int64)
        for row, tokens in enumerate(new):
            ids[row, q - len(tokens) :] = tokens
            self._ids[row, self.length[row] : self.length[row] + len(tokens)] = tokens
        offset = np.arange(q) - (q - counts)[:, None]
        fresh = torch.from_numpy(offset >= 0)
        self._valid[:, start : start + q] = fresh
        sees = self._valid[:, None, None, : start + q].expand(-1, 1, q, -1).clone()
        sees[:, 0, :, start:] &= torch.ones((q, q), dtype=torch.bool).tril()
        positions = np.maximum(self.length[:, None] + offset, 0)
        self.length = self.length + counts
        self.steers = list(steers)
        self._columns = start + q
        return torch.from_numpy(ids), torch.from_numpy(positions), sees

    def _reserve(self, columns: int, tokens: int) -> None:
        if columns > self._valid.shape[1]:
            more = 2 * columns - self._valid.shape[1]
            self._valid = torch.nn.functional.pad(self._valid, (0, more))
        if tokens > self._ids.shape[1]:
            self._ids = np.pad(self._ids, ((0, 0), (0, 2 * tokens - self._ids.shape[1])))
