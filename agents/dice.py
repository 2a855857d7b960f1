"""Randomness of the classical agents: one generator per (seed, agent, block of episodes).

A block of 256 episode indices is always played whole, so what an episode draws depends neither on how many other
episodes are played nor on how blocks are grouped. Tie-breaking and posterior draws live here; the luck of the world
is another thing (`icrl.envs.tape`). An algorithm that plays beside a model is in no block: there each draw is keyed by
its episode and time (`Keyed`), which is slower and may be resumed at any step.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.random import SFC64, Generator, SeedSequence
from scipy.special import betaincinv, ndtri, stdtrit

from icrl.envs import tape
from icrl.envs.tape import Keys, Stream
from icrl.envs.types import Bools, Floats, Ints

BLOCK = 256
_ASIDE, _AMONG = np.uint64(0x5DEECE66D), np.uint64(0x9E3779B97F4A7C15)  # any numbers: they tell keys apart


@dataclass(frozen=True)
class Dice:
    """Generators of the blocks present, and the rows that each serves: `ends[i-1]` to `ends[i]`."""

    keys: tuple[tuple[int, ...], ...]
    generators: tuple[Generator, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, agent: object, episodes: Ints, seed: int) -> Self:
        """Dice for the blocks of `episodes`; an agent's identity is its repr (its class and fields)."""
        blocks, first = np.unique(episodes // BLOCK, return_index=True)
        keys = tuple((seed, identity(agent), int(block)) for block in blocks)
        return cls(keys, _generators(keys), (*first[1:].tolist(), len(episodes)))

    def aside(self, t: int) -> Self:
        """Other dice for the same rows: what is drawn from them at time `t` disturbs nothing."""
        keys = tuple((*key, 1 + t) for key in self.keys)
        return replace(self, keys=keys, generators=_generators(keys))

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

    def student(self, freedom: Floats) -> Floats:
        """Student t draws for an array [R, columns] of degrees of freedom."""
        out = np.empty_like(freedom)
        for generator, rows in self._slices():
            out[rows] = generator.standard_t(freedom[rows])
        return out

    def take(self, rows: Bools) -> Self:
        """Serves only the rows where `rows` is true; each generator goes on where it was."""
        return replace(self, ends=tuple(np.searchsorted(np.flatnonzero(rows), self.ends).tolist()))


@dataclass(frozen=True)
class Keyed(Dice):
    """Dice whose draws are a function of (seed, agent, episode, t): quantiles of uniforms from the tape."""

    rows: Keys
    """[R]"""
    drawn: list[int] = field(default_factory=lambda: [0])
    """How many columns were drawn at this time."""

    @classmethod
    def at(cls, agent: object, episodes: Ints, seed: int, t: Ints, use: int = 0) -> Self:
        """Dice of one moment; `use` tells apart several uses at it."""
        return cls((), (), (), tape.key(seed, Stream.DICE, identity(agent), episodes, t, use))

    def aside(self, t: int) -> Self:
        """Other dice for the same rows."""
        return replace(self, rows=self.rows ^ _ASIDE, drawn=[0])

    def uniform(self, columns: int) -> Floats:
        """float[R, columns] on (0, 1)."""
        n = np.arange(self.drawn[0], self.drawn[0] + columns)
        self.drawn[0] += columns
        return tape.uniform(self.rows[:, None], n)

    def normal(self, columns: int) -> Floats:
        """float[R, columns] from N(0, 1)."""
        return np.asarray(ndtri(self.uniform(columns)))

    def beta(self, a: Floats, b: Floats) -> Floats:
        """Beta draws for arrays [R, columns]."""
        return np.asarray(betaincinv(a, b, self.uniform(a.shape[1])))

    def student(self, freedom: Floats) -> Floats:
        """Student t draws for an array [R, columns] of degrees of freedom."""
        return np.asarray(stdtrit(freedom, self.uniform(freedom.shape[1])))

    def take(self, rows: Bools) -> Self:
        """Other numbers for the rows where `rows` is true: what is drawn for them moves nobody else's dice."""
        return replace(self, rows=self.rows[rows] ^ _AMONG, drawn=list(self.drawn))


def any_of(allowed: Bools, u: Floats) -> Ints:
    """[R] one of the allowed arms of each row, each as likely, by numbers u [R] on [0, 1); 0 where there is none."""
    rank = (u * allowed.sum(axis=1)).astype(np.int64)
    arm: Ints = (allowed.cumsum(axis=1) > rank[:, None]).argmax(axis=1)
    return arm


def drawn_from(probs: Floats, u: Floats) -> Ints:
    """[...] arms drawn from probs [..., K], which need not sum to 1, by inverse transform of numbers u [...]."""
    cumulative = probs.cumsum(axis=-1)
    arms: Ints = (cumulative <= (u * cumulative[..., -1])[..., None]).sum(axis=-1)
    return arms


def identity(agent: object) -> int:
    """A number for an agent's repr."""
    return zlib.crc32(repr(agent).encode())


def _generators(keys: tuple[tuple[int, ...], ...]) -> tuple[Generator, ...]:
    return tuple(Generator(SFC64(SeedSequence(key))) for key in keys)
