"""Whether steering is live in an engine: tried once when it starts, since what skips hooks says nothing of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from icrl.models.steering import Steer, SteeringVector
from icrl.models.vllm_keys import BACK, EAST, NAME, STRENGTH, told

TOKENS = tuple(range(8))
"""Those whose log-probabilities are compared."""
PROMPT = tuple(8 + i % 89 for i in range(72))
"""Two blocks of 32, and some."""
PUSH, SAME, OTHER = 100.0, 1e-5, 0.05
"""How far the probe moves each number of a state; nats that count as no difference, and as one."""

Score = Callable[[Mapping[str, Any]], tuple[Sequence[float], int]]
"""From the keys of a request for TOKENS after PROMPT to their log-probabilities, and how much was cached."""


def check(score: Score, vector: SteeringVector, where: str) -> None:
    """Raises ValueError unless requests are steered, each of them for itself.

    Args:
        score: Asks an engine that has not been asked since it started.
        vector: One that it has.
        where: The engine, in errors.
    """
    strength = PUSH * math.sqrt(vector.width) / (vector.norm or 1.0)
    pushed, _ = score(told(Steer(vector, strength, 0), len(PROMPT)))
    plain, leaked = score({})
    if leaked:
        raise ValueError(f"steering: {where} has taken {leaked} steered tokens for others; its cache mixes them up")
    if not _apart(pushed, plain) > OTHER:
        raise ValueError(f"steering: {where} answers as if it were not steered; its hooks are not called")
    again, _ = score({})  # now from the cache, as is what it is compared with
    zero, _ = score({NAME: vector.digest, STRENGTH: 0.0, BACK: EAST})
    if not _apart(zero, again) <= SAME:
        raise ValueError(f"steering: {where} answers otherwise at strength 0 than without steering")


def _apart(one: Sequence[float], two: Sequence[float]) -> float:
    """The largest difference; what is not a number is as far as can be."""
    return float(np.nan_to_num(np.abs(np.subtract(one, two)), nan=math.inf).max())
