"""Bandits whose good arms stand at the odd places of the list, or at the even ones (Sinii et al. 2023)."""

from __future__ import annotations

import numpy as np

from icrl.envs import Bandit, Instances, UniformMeans
from icrl.envs.bandit import BanditState
from icrl.envs.types import Floats, Ints


class Places(Bandit):
    """The better half of the means at the places 1, 3, ... of the list; or, `even`, at the others."""

    even: bool = False

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """Means [B, K] and best arms [B]."""
        means = self._means(episodes, seed)
        return Instances(means, means.argmax(axis=1))

    def start(self, episodes: Ints, seed: int) -> BanditState:
        """The first state of these episodes."""
        return self._start(episodes, seed, self._means(episodes, seed))

    def _means(self, episodes: Ints, seed: int) -> Floats:
        drawn = super().instances(episodes, seed).means
        assert drawn is not None
        first = np.arange(self.n_arms) % 2 == (1 if self.even else 0)  # places are counted from 1
        good = drawn >= np.median(drawn, axis=1, keepdims=True)
        found = np.empty_like(drawn)
        found[:, first], found[:, ~first] = drawn[good].reshape(len(drawn), -1), drawn[~good].reshape(len(drawn), -1)
        return found


def odd() -> Places:
    """Good arms at odd places."""
    return Places(n_arms=6, horizon=50, means=UniformMeans())


def even() -> Places:
    """Good arms at even places."""
    return Places(n_arms=6, horizon=50, means=UniformMeans(), even=True)
