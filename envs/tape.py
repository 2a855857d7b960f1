"""Luck as a tape: a counter hash instead of a generator with a state.

A uniform is a pure function of (seed, stream, episode, item, n), so every agent meets the same luck on the same
episode, whatever it chose before, in whatever batch or order episodes are played, and after any crash. The hash is
SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"): each word of the key is
absorbed by one round of its finaliser, and `n` counts along the stream that the key opens.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icrl.envs.types import Floats

Keys = NDArray[np.uint64]
T = TypeVar("T", bound=np.generic)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S12 = (np.uint64(s) for s in (30, 27, 31, 12))
_MASK = (1 << 64) - 1
_wraps = np.errstate(over="ignore")  # products of single numbers would warn; those of arrays do not


class Stream(IntEnum):
    """One name per use of luck, so that no two uses share a number."""

    REWARD = 1
    MEANS = 2
    POSITION = 3
    LABELS = 4
    POLICY = 5
    FAILURE = 6
    CONTEXT = 7
    CHANGE = 8
    DRIFT = 9
    PRESENCE = 10
    ARMS = 11
    DUEL = 12
    TASK = 13
    DICE = 14
    MIX = 15
    RATINGS = 16
    HISTORY = 17
    HINT = 18
    DEMONSTRATION = 19
    LINT = 20
    CHECK = 21
    THOUGHT = 23
    TRIAL = 22
    TEACHING = 24
    ROLLIN = 25
    ORDER = 26


def _mix(z: Keys) -> Keys:
    """SplitMix64's finaliser; `z` is overwritten."""
    z ^= z >> _S30
    z *= _M1
    z ^= z >> _S27
    z *= _M2
    z ^= z >> _S31
    return z


@_wraps
def key(seed: int, stream: Stream, *words: ArrayLike) -> Keys:
    """A key for each element of the broadcast `words` (episode, arm, ...)."""
    start = np.uint64((seed * 0x9E3779B97F4A7C15 + int(stream)) & _MASK)
    state = _mix(np.full(np.broadcast_shapes(*(np.shape(w) for w in words)), start, np.uint64))
    for word in words:
        state ^= np.asarray(word).astype(np.uint64) * _GOLDEN
        state = _mix(state + _M2)
    return state


@_wraps
def uniform(keys: Keys, n: ArrayLike = 0) -> Floats:
    """The n-th uniform of each key, in the open interval (0, 1)."""
    z = _mix((np.asarray(n).astype(np.uint64) + np.uint64(1)) * _GOLDEN + keys)
    z >>= _S12  # 52 bits, which leave room for the half below: with 53 the highest would round to 1
    u = z.astype(np.float64)
    u += 0.5
    u *= 2.0**-52
    return u


@_wraps
def following(keys: Keys) -> Keys:
    """Keys one number further along their streams: their n-th uniform is the (n+1)-th of `keys`."""
    return keys + _GOLDEN
