"""How much of the past a prompt shows, and how: values that say which steps they keep.

A history that is append-only lets the stem of a step be a token prefix of the next one's: engines then reuse what they
have read, and an episode trains as one row.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from icrl.envs import tape
from icrl.envs.spec import Spec, nearest
from icrl.envs.tape import Stream
from icrl.envs.types import Bools, Floats, Ints

Count = Annotated[int, Field(ge=0)]


class _History(Spec):
    """What all histories have.

    Attributes:
        rewards: As numbers, or in words (`yes` and `no`, of rewards that are 0 or 1).
        decimals: Digits behind the point; None: none for rewards that are 0 or 1, else two. Means have two unless told.
    """

    append_only: ClassVar[bool] = False
    rewards: Literal["numbers", "words"] = "numbers"
    decimals: Annotated[int, Field(ge=0, le=6)] | None = None

    @property
    def spares(self) -> int:
        """First steps that a budget takes last."""
        return 0

    def keeps(self, seed: int, episode: Ints, rewards: Floats, game: Ints) -> Bools:
        """[R, t] which of the t steps so far are shown.

        Args:
            seed: Of the run.
            episode: [R] of the rows.
            rewards: [R, t] of the past; NaN where a step was forfeited.
            game: [t + 1] to which game each step belongs, and the one that is to come.
        """
        return np.ones(rewards.shape, np.bool_)


class Raw(_History):
    """Every step, in order."""

    append_only: ClassVar[bool] = True
    kind: Literal["raw"] = "raw"


class Summary(_History):
    """Pulls and mean reward of each arm, written anew at each step.

    Attributes:
        spread: Whether the standard deviation of an arm's rewards is told, too.
        last: How many of an arm's last rewards are told, too.
    """

    kind: Literal["summary"] = "summary"
    spread: bool = False
    last: Count = 0


class Window(_History):
    """The last steps only; with `first`, also the first ones, which many models attend to.

    Attributes:
        last: How many of the last steps.
        first: How many of the first steps.
    """

    kind: Literal["window"] = "window"
    last: Annotated[int, Field(ge=1)]
    first: Count = 0

    @property
    def spares(self) -> int:
        """The first ones."""
        return self.first

    def keeps(self, seed: int, episode: Ints, rewards: Floats, game: Ints) -> Bools:
        """The first and the last ones."""
        i, t = np.arange(rewards.shape[1]), rewards.shape[1]
        return np.broadcast_to((i < self.first) | (i >= t - self.last), rewards.shape)


class Positive(_History):
    """Steps with a reward above 0 only: Naive+ of Monea et al. 2024 (arXiv 2410.05362)."""

    append_only: ClassVar[bool] = True
    kind: Literal["positive"] = "positive"

    def keeps(self, seed: int, episode: Ints, rewards: Floats, game: Ints) -> Bools:
        """Those that paid."""
        return rewards > 0


class Stochastic(_History):
    """Each step with probability `keep`, drawn anew for each question: Stochastic of Monea et al. 2024.

    Attributes:
        keep: The probability.
    """

    kind: Literal["stochastic"] = "stochastic"
    keep: Annotated[float, Field(gt=0, le=1)]

    def keeps(self, seed: int, episode: Ints, rewards: Floats, game: Ints) -> Bools:
        """By luck keyed by seed, episode, time and step."""
        r, t = rewards.shape
        key = tape.key(seed, Stream.HISTORY, episode[:, None], np.full((r, 1), t), np.arange(t))
        return np.asarray(tape.uniform(key) < self.keep)


class Trials(_History):
    """Whole games: that which is played, and the last ones before it, in tasks that have several (`icrl.envs.Trials`).

    Attributes:
        past: How many games before the one that is played; `raw` shows all of them, a `summary` none.
    """

    kind: Literal["trials"] = "trials"
    past: Count

    def keeps(self, seed: int, episode: Ints, rewards: Floats, game: Ints) -> Bools:
        """Steps of the last games."""
        return np.broadcast_to(game[:-1] >= game[-1] - self.past, rewards.shape)


History = Annotated[Raw | Summary | Window | Positive | Stochastic | Trials, Field(discriminator="kind")]
Named = Literal["raw", "summary", "positive"]
"""Histories that need nothing but their name."""
_KINDS = ("raw", "summary", "window", "positive", "stochastic", "trials")


def as_history(given: Any) -> Any:
    """A history's name instead of its fields."""
    if not isinstance(given, str):
        return given
    if given not in _KINDS:
        raise ValueError(f"unknown history {given!r}{nearest(given, _KINDS)} Known: {', '.join(_KINDS)}")
    return {"kind": given}
