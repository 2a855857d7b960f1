"""Randomness of the classical agents: one generator per (seed, agent, block of episodes).

A block of 256 episode indices is always played whole, so what an episode draws depends neither on how many other
episodes are played nor on how blocks are grouped. Tie-breaking and posterior draws live here; the luck of the world
is another thing (`icrl.envs.tape`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.random import SFC64, Generator, SeedSequence

from icrl.envs.types import Bools, Floats, Ints

BLOCK = 256


@dataclass(frozen=True)
class Dice:
    """Generators of the blocks present, and the rows that each serves: `ends[i-1]` to `ends[i]`."""

    generators: tuple[Generator, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, agent: object, episodes: Ints, seed: int) -> Self:
        """Dice for the blocks of `episodes`; an agent's identity is its repr (its class and fields)."""
        blocks, first = np.unique(episodes // BLOCK, return_index=True)
        identity = zlib.crc32(repr(agent).encode())
        seeds = [SeedSequence((seed, identity, int(block))) for block in blocks]
        return cls(tuple(Generator(SFC64(s)) for s in seeds), (*first[1:].tolist(), len(episodes)))

    def _slices(self) -> Iterator[tuple[Generator, slice]]:
        starts = (0, *self.ends[:-1])
        return ((g, slice(a, b)) for g, a, b in zip(self.generators, starts, self.ends, strict=True))

    def uniform(self, columns: int) -> Floats:
        """float[R, columns] on [0, 1)."""
        out = np.empty((self.ends[-1], columns))
        for generator, rows in self._slices():
            generator.random(out=out[rows])
        return out

    def normal(self, columns: int) -> Floats:
        """float[R, columns] from N(0, 1)."""
        out = np.empty((self.ends[-1], columns))
        for generator, rows in self._slices():
            generator.standard_normal(out=out[rows])
        return out

    def beta(self, a: Floats, b: Floats) -> Floats:
        """Beta draws for arrays [R, columns], in their layout."""
        out = np.empty_like(a)
        for generator, rows in self._slices():
            out[rows] = generator.beta(a[rows], b[rows])
        return out

    def take(self, rows: Bools) -> Self:
        """Serves only the rows where `rows` is true; each generator goes on where it was."""
        return replace(self, ends=tuple(np.searchsorted(np.flatnonzero(rows), self.ends).tolist()))
