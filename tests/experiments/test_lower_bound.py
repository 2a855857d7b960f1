"""The Lai-Robbins constant by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest

from icrl.envs import Episodes, Public
from icrl.experiments.lower_bound import lai_robbins, lai_robbins_line


def having(means: Any, public: Public) -> Episodes:
    means = np.array(means)
    return Episodes(
        task="by hand",
        agent="by hand",
        seed=0,
        public=public,
        episode=np.arange(len(means)),
        arms=np.zeros((len(means), 3), np.int64),
        rewards=np.zeros((len(means), 3)),
        gap=np.zeros((len(means), 3)),
        lengths=np.full(len(means), 3),
        means=means,
        best_arm=np.zeros(len(means), np.int64),
    )


COINS, NORMALS = Public("bandit", 3, 3, "bernoulli"), Public("bandit", 3, 3, "gaussian", noise_sd=3.0)


def kl(p: float, q: float) -> float:
    return p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))


def test_bernoulli_by_hand() -> None:
    found = lai_robbins(having([[0.6, 0.4, 0.3], [0.6, 0.6, 0.4], [0.5, 0.5, 0.5]], COINS))
    assert found == pytest.approx([0.2 / kl(0.4, 0.6) + 0.3 / kl(0.3, 0.6), 0.2 / kl(0.4, 0.6), 0])


def test_certain_rewards_cost_nothing_to_tell_apart() -> None:
    assert lai_robbins(having([[1.0, 0.5, 0.0]], COINS)).tolist() == [0]
    assert lai_robbins(having([[0.5, 0.0, np.nan]], COINS)) == pytest.approx([0.5 / log(2)])  # an arm is missing


def test_gaussian_by_hand() -> None:
    found = lai_robbins(having([[1.0, 0.0, -1.0], [1.0, 1.0, 0.5]], NORMALS))
    assert found == pytest.approx([2 * 9 / 1 + 2 * 9 / 2, 2 * 9 / 0.5])


def test_line_is_the_constant_times_the_logarithm() -> None:
    line = lai_robbins_line(having([[1.0, 0.0, -1.0]], NORMALS))
    assert line == pytest.approx(27 * np.array([[0, log(2), log(3)]]))


def test_what_is_unknown_is_refused() -> None:
    runs = having([[1.0, 0.0, -1.0]], replace(NORMALS, noise_sd=None))
    with pytest.raises(ValueError, match="noise_sd: .* got None"):
        lai_robbins(runs)
    for column in ("means", "best_arm"):
        with pytest.raises(ValueError, match="means, best_arm: "):
            lai_robbins(replace(runs, **{column: None}))


@pytest.mark.parametrize("kind", ["dueling", "best-arm", "moving", "contextual"])
def test_it_is_of_stationary_bandits(kind: str) -> None:
    with pytest.raises(ValueError, match="stationary bandits, this one is"):
        lai_robbins(having([[0.5, 0.2, 0.1]], replace(COINS, kind=kind)))
