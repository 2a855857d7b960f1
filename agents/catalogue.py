"""All algorithms that come with icrl, by name: what an experiment file may hold, and who can play a task."""

from __future__ import annotations

from typing import Any

from icrl.agents.bayes import BayesOptimal, Gittins
from icrl.agents.bestarm import SuccessiveHalving, TopTwoThompson
from icrl.agents.classical import Algorithm
from icrl.agents.duels import RUCB, DoubleThompson
from icrl.agents.exp3 import EXP3
from icrl.agents.forgetting import DiscountedThompson, DiscountedUCB, SlidingWindowUCB
from icrl.agents.linear import LinThompsonSampling, LinUCB
from icrl.agents.simple import Boltzmann, EmpiricalMean, EpsilonGreedy, ExploreThenCommit, Greedy, Uniform
from icrl.agents.sticky import Stubborn, WinStayLoseShift
from icrl.agents.thompson import MostLikelyBest, ThompsonSampling
from icrl.agents.ucb import KLUCB, LCB, MOSS, UCB
from icrl.envs.types import Public

ALGORITHMS: dict[str, type[Algorithm[Any]]] = {
    algorithm.__name__: algorithm
    for algorithm in (
        Uniform, Greedy, EpsilonGreedy, ExploreThenCommit, Boltzmann, WinStayLoseShift, Stubborn,
        UCB, KLUCB, MOSS, ThompsonSampling, MostLikelyBest, EXP3, BayesOptimal, Gittins,
        DiscountedUCB, SlidingWindowUCB, DiscountedThompson, LinUCB, LinThompsonSampling,
        RUCB, DoubleThompson, SuccessiveHalving, TopTwoThompson, LCB, EmpiricalMean,
    )
}  # fmt: skip


def able(public: Public) -> str:
    """Which algorithms, as they are by default, can play such a task."""
    names = [name for name, algorithm in ALGORITHMS.items() if algorithm().refuses(public) is None]
    return f"these can: {', '.join(names)}" if names else "no algorithm can"
