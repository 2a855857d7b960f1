"""A teacher of whose choices nothing can be learnt, as they are of other arms."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from icrl.agents import UCB
from icrl.agents.classical import CONFIG, Counts
from icrl.agents.simple import Above
from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import Floats, Ints, Names, Public, View


@plain_dataclass(frozen=True)
class Mixed(Counts):
    """Counts, and for which arm each arm is taken."""

    order: Any
    """int[R, K]"""


@dataclass(frozen=True, config=CONFIG)
class Permuted(UCB):
    """UCB that takes each episode's arms for others: its index is of another arm's rewards."""

    alpha: Above | None = 0.5

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Mixed:
        """An order for each episode, of all with the same probability: their mean is uniform play."""
        u = tape.uniform(tape.key(seed, Stream.TEACHING, episodes[:, None], np.arange(public.n_arms)))
        return Mixed.none(self, public, episodes, seed, order=np.argsort(u, axis=1))

    def index(self, state: Counts, view: View) -> Floats:
        """UCB's, in that order."""
        assert isinstance(state, Mixed)
        return np.take_along_axis(super().index(state, view), state.order, axis=1)
