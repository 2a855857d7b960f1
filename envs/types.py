"""The types that every room shares: what an agent may know, sees, chooses, and what comes back.

All of them are columns over `R`, the live rows of a batch (episodes that have not ended); `K` is the number of
arms. Truth (means, gaps, the best arm) travels in `Truth` and `Instances` only, and those go to `Episodes`,
never to an agent.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Names = tuple[tuple[str, ...], ...]
"""Labels of the arms: one tuple of K texts per episode."""

RewardFamily = Literal["bernoulli", "gaussian"]


@dataclass(frozen=True)
class Public:
    """All that an agent may know about a task beforehand."""

    kind: str
    """`bandit` (stationary), `moving`, `contextual`, `dueling`, `best-arm` (only the last choice counts), or a world's
    own word."""
    n_arms: int
    """K; where it differs between episodes, the largest."""
    horizon: int | None
    """T; where it differs between episodes, the longest."""
    reward: RewardFamily
    noise_sd: float | None = None
    """Of Gaussian rewards; None: unknown."""
    slots: int = 1
    """Arms that one choice names."""
    context_dim: int = 0
    """d; 0: no context is seen."""
    per_arm: bool = False
    """Whether each arm has a context vector of its own (its features)."""
    variable: bool = False
    """Whether arms may be missing: `View.legal` says which are there."""
    trials: int = 1
    """Games in one episode, one after the other and of equal length, each with other arms; T counts all their steps."""

    @property
    def game(self) -> int | None:
        """Steps of one game."""
        return None if self.horizon is None else self.horizon // self.trials

    def ends_game(self, t: int) -> bool:
        """Whether step t is the last one of a game that is followed by another."""
        return self.trials > 1 and self.game is not None and (t + 1) % self.game == 0 and t + 1 != self.horizon


@dataclass(frozen=True)
class View:
    """What an agent sees before a choice; the only thing that flows from a world to an agent."""

    episode: Ints
    """[R] index of the episode."""
    t: Ints
    """[R] steps taken so far."""
    trial: Ints
    """[R] index of the game inside one prompt."""
    legal: Bools
    """[R, K] arms that may be chosen now."""
    context: Floats | None = None
    """[R, d] or [R, K, d] side information of this step."""
    obs: tuple[str, ...] | None = None
    """Text observations, for worlds that speak."""
    state: Ints | None = None
    """[R] index of the state, for tabular worlds."""


USAGE = ("fed", "reused", "written", "thinking")
"""Tokens of one choice: new to the model, reused from its cache, generated as an answer, generated as a thought."""


@dataclass(frozen=True)
class Choice:
    """What an agent answers, one row per row of the view."""

    arm: Ints
    """[R, slots] chosen arms; -1 where there was no valid answer."""
    probs: Floats | None = None
    """[R, slots, K] probabilities of the policy, after temperature."""
    mass: Floats | None = None
    """[R, slots] probability that the labels held before everything else was masked."""
    policy: Literal["exact", "sampled"] | None = None
    text: tuple[str, ...] | None = None
    """The text that stands in the history for this choice."""
    ids: Ints | None = None
    """[R, W] the tokens of a free answer as they were generated, filled up with -1."""
    failed: Ints | None = None
    """[R] number of answers that could not be read before this one was taken."""
    usage: Ints | None = None
    """[R, 4] tokens, in the order of USAGE; -1 where no model was asked."""
    refused: tuple[str, ...] | None = None
    """[R] the answers that could not be read, as a JSON list; empty where there were none."""
    thought: tuple[str, ...] | None = None
    """[R] what was thought before the answer."""
    cut: Ints | None = None
    """[R] 1 where a thought found no end and was closed by force, else 0."""
    dropped: Ints | None = None
    """[R, 2] demonstrations and past steps that the prompt left out, to keep its budget."""


@dataclass(frozen=True)
class Outcome:
    """What a world answers to a choice."""

    reward: Floats
    """[R]; NaN where no arm was chosen."""
    terminated: Bools
    truncated: Bools
    feedback: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Truth:
    """Hindsight about one step. Goes to `Episodes` only."""

    gap: Floats
    """[R] best mean minus chosen mean (instantaneous regret); NaN where unknown."""
    best: Ints
    """[R, slots]"""


@dataclass(frozen=True)
class Instances:
    """Hindsight about whole episodes of a stationary task; None where there is no such number."""

    means: Floats | None = None
    """[B, K]"""
    best_arm: Ints | None = None
    """[B]"""


W = TypeVar("W")


class World(Protocol[W]):
    """A task: a distribution over instances and the rules of one episode.

    `W` is a dataclass of arrays over rows (see `take`), so saving and restoring a state is free.
    """

    @property
    def public(self) -> Public: ...

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """The truth about these episodes, for the record."""
        ...

    def start(self, episodes: Ints, seed: int) -> W: ...

    def view(self, state: W) -> View: ...

    def step(self, state: W, arm: Ints) -> tuple[W, Outcome, Truth]:
        """Plays `arm` [R, slots]; -1 forfeits the step: it passes, and no reward is drawn."""
        ...


AnyWorld = World[Any]

D = TypeVar("D", bound="DataclassInstance")


def take(state: D, rows: Bools | Ints) -> D:
    """Keeps some rows of a dataclass whose fields are arrays over rows, None, or tuples of such dataclasses."""

    def kept(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(take(part, rows) for part in value)
        return None if value is None else value[rows]

    return replace(state, **{f.name: kept(getattr(state, f.name)) for f in fields(state)})


def put(state: D, rows: Bools | Ints, new: D) -> None:
    """Writes the rows of `new` over `rows` of `state`, in place; see `take`."""
    for f in fields(state):
        old, value = getattr(state, f.name), getattr(new, f.name)
        if isinstance(old, tuple):
            for part, other in zip(old, value, strict=True):
                put(part, rows, other)
        elif old is not None:
            old[rows] = value
