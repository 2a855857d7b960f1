"""Who plays in the diaries: a population with drawn parameters, most of them greedy, as large models mostly are."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from icrl.agents import (
    RUCB,
    UCB,
    Boltzmann,
    DoubleThompson,
    EpsilonGreedy,
    Greedy,
    LinThompsonSampling,
    LinUCB,
    Restarting,
    Stubborn,
    SuccessiveHalving,
    ThompsonSampling,
    TopTwoThompson,
    Uniform,
    WinStayLoseShift,
)
from icrl.agents.base import AnyAgent
from icrl.envs.types import Public

SHARES = {
    "greedy": 0.6,
    "sticky": 0.09,
    "noisy": 0.07,
    "soft": 0.05,
    "optimistic": 0.1,
    "sampling": 0.06,
    "random": 0.03,
}
"""How often each kind of player comes, where all of them can play."""


@dataclass(frozen=True)
class Player:
    """An agent, and the word for its kind."""

    kind: str
    agent: AnyAgent


def tag(kind: str) -> str:
    """The system text that names a kind of player."""
    return f"The player is {kind}."


def draw_player(rng: Generator, public: Public) -> Player:
    """A player who can play such a task."""
    if public.kind == "dueling":
        return _one(rng, {"optimistic": RUCB(alpha=_between(rng, 0.51, 1.0)), "sampling": DoubleThompson()})
    if public.context_dim:
        return _one(rng, _linear(rng))
    kinds = _plain(rng, public)
    if public.kind == "best-arm" and public.noise_sd is None and rng.random() < 0.5:
        kinds = {"optimistic": SuccessiveHalving(), "sampling": TopTwoThompson()}
    player = _one(rng, kinds)
    return Player(player.kind, Restarting(player.agent)) if public.trials > 1 else player


def _one(rng: Generator, kinds: dict[str, AnyAgent]) -> Player:
    weights = [SHARES[kind] for kind in kinds]
    kind = list(kinds)[rng.choice(len(kinds), p=[w / sum(weights) for w in weights])]
    return Player(kind, kinds[kind])


def _between(rng: Generator, low: float, high: float) -> float:
    """Log-uniform, in three digits."""
    return float(f"{low * (high / low) ** rng.random():.3g}")


def _plain(rng: Generator, public: Public) -> dict[str, AnyAgent]:
    """Players who count pulls and rewards."""
    scale = public.noise_sd or 1.0
    greedy = Greedy() if rng.random() < 0.6 else EpsilonGreedy(epsilon=_between(rng, 0.01, 0.05))
    sticky = WinStayLoseShift() if rng.random() < 0.3 else Stubborn(stay=_between(rng, 0.7, 0.98))
    bernoulli = public.reward == "bernoulli"
    return {
        "greedy": greedy,
        "sticky": sticky,
        "noisy": EpsilonGreedy(epsilon=_between(rng, 0.1, 0.5)),
        "soft": Boltzmann(temperature=_between(rng, 0.03 * scale, 0.3 * scale)),
        "optimistic": UCB(c=_between(rng, 0.2, 1.5)),
        "sampling": ThompsonSampling(prior=(0.5, _between(rng, 0.15, 0.45))) if bernoulli else ThompsonSampling(),
        "random": Uniform(),
    }


def _linear(rng: Generator) -> dict[str, AnyAgent]:
    """Players who read contexts."""
    return {
        "greedy": LinUCB(alpha=_between(rng, 0.01, 0.05)),
        "optimistic": LinUCB(alpha=_between(rng, 0.3, 1.5)),
        "sampling": LinThompsonSampling(scale=_between(rng, 0.3, 1.0)),
        "random": Uniform(),
    }
