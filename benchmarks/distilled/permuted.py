"""A teacher of whose choices nothing can be learnt, as they are of other arms."""

from __future__ import annotations

import numpy as np
from pydantic.dataclasses import dataclass

from icrl.agents import UCB
from icrl.agents.classical import CONFIG, Counts
from icrl.agents.simple import Above
from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import Floats, View


@dataclass(frozen=True, config=CONFIG)
class Permuted(UCB):
    """UCB that takes each episode's arms for others: its index is of another arm's rewards."""

    alpha: Above | None = 0.5

    def index(self, state: Counts, view: View) -> Floats:
        """UCB's, in an order drawn for each episode."""
        k = view.legal.shape[1]
        order = np.argsort(tape.uniform(tape.key(0, Stream.TEACHING, view.episode[:, None], np.arange(k))), axis=1)
        return np.take_along_axis(super().index(state, view), order, axis=1)
