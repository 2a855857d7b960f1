"""What a request to vLLM says of its steering: three keys, in its `extra_args`, or over HTTP in its `vllm_xargs`.

`icrl_steering` is the vector's digest, `icrl_strength` a number; tokens are steered from `icrl_back` tokens before the
prompt's end on: 1 is `east` and what holds if the key is missing, 0 is `generated`, ALL is everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icrl.models.steering import MOST, Steer

PREFIX = "icrl_"
NAME, STRENGTH, BACK = (f"{PREFIX}{word}" for word in ("steering", "strength", "back"))
EAST, ALL = 1, 1 << 30
VARIABLE = "ICRL_STEERING"
"""The environment variable of vLLM's processes that turns steering on; for a server, where its vectors are."""


@dataclass(frozen=True)
class Asked:
    """The steering of one request: of which vector, how much, from which position on."""

    digest: str
    strength: float
    start: int


def told(steer: Steer | None, length: int) -> dict[str, str | float | int]:
    """The keys of a prompt of so many tokens; none if it is not steered."""
    if steer is None or not steer.strength:
        return {}
    back = length - steer.start if steer.start else ALL  # so that prompts of any length share requests
    return {NAME: steer.vector.digest, STRENGTH: float(steer.strength), BACK: back}


def asked(extra: Mapping[str, Any] | None, length: int) -> Asked | None:
    """What the keys of a prompt of so many tokens say.

    It raises nothing, since an error in vLLM's engine ends it for all requests: keys that say nothing are none. They
    are refused before, by the engine of `icrl.models.engine` and the middleware of the server.
    """
    if not extra or NAME not in extra:
        return None
    digest, strength, back = str(extra[NAME]), extra.get(STRENGTH), extra.get(BACK, EAST)
    if not isinstance(strength, int | float) or not isinstance(back, int) or not 0 < abs(strength) <= MOST:
        return None
    return Asked(digest, float(strength), max(0, length - back))


def rows(spans: Iterable[tuple[int, int, int | None]]) -> list[NDArray[np.int64]]:
    """Which tokens of a pass are steered, of each request.

    Positions decide, not phases: a prompt may be read in parts or found in a cache, and what an interrupted request had
    generated is read again as if it were prompt.

    Args:
        spans: Of each request, in the order in which its tokens lie in the pass: how many tokens it has there, the
            position of the first, and the first position that is steered, if any is.
    """
    found, base = [], 0
    for count, first, start in spans:
        skip = count if start is None else min(max(start - first, 0), count)
        found.append(np.arange(base + skip, base + count))
        base += count
    return found
