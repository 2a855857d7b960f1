"""Demonstrations: whole episodes of a teacher that stand in a prompt before the game, in the layout of the game."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from icrl.envs import tape
from icrl.envs.episodes import Episodes
from icrl.envs.tape import Stream
from icrl.envs.types import Floats, Ints, Public

NEXT = "This game is over. What was good in it may be bad in the next one.\n"
OWN = "This game is over, and your own begins. What was good in it may be bad in yours.\n"
EXAMPLE = "An example of another player's {tries}:\n"
LAST = "Their last choice: "
SAME = ("n_arms", "reward", "slots", "context_dim", "per_arm", "variable")
"""What a demonstration and a task must have in common."""


def _pool(given: Any) -> Any:
    if isinstance(given, Episodes):
        return (given,)
    if not isinstance(given, tuple | list) or not given or not all(isinstance(part, Episodes) for part in given):
        raise ValueError(f"must be Episodes, or several of them, got {given!r}")
    return tuple(given)


@dataclass(frozen=True, repr=False, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Demonstrations:
    """Which episodes are shown.

    An episode's arms take the labels of the game before which it stands. Games are never shown before themselves: of
    demonstrations with the task, seed and index of an episode that is played, that one is left out.

    Args:
        episodes: Whole episodes of a teacher, or of several tasks.
        count: How many are shown before each game.
        choose: `random`, drawn for each game (keyed by seed and episode); `regret`, those with the lowest
            pseudo-regret per step, or simple regret where only the last choice counts; `similar`, drawn from the tasks
            whose horizon and noise are nearest to the game's.
    """

    episodes: Annotated[tuple[Episodes, ...] | Episodes, BeforeValidator(_pool)]
    count: Annotated[int, Field(ge=1)] = 1
    choose: Literal["random", "regret", "similar"] = "random"

    @property
    def parts(self) -> tuple[Episodes, ...]:
        """The episodes, also where those of one task were given."""
        assert not isinstance(self.episodes, Episodes)
        return self.episodes

    def __repr__(self) -> str:
        """Tells pools apart by a hash of what was played."""
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(repr((part.task, part.agent, part.seed, part.episode.tolist())).encode())
            digest.update(part.arms.tobytes() + part.rewards.tobytes())
        return f"Demonstrations({digest.hexdigest()[:12]}, count={self.count}, choose={self.choose!r})"

    def check(self, public: Public) -> None:
        """Raises ValueError if an episode is of another action set, or there are too few."""
        for part in self.parts:
            for name in SAME:
                if (theirs := getattr(part.public, name)) != (ours := getattr(public, name)):
                    raise ValueError(f"demonstrations: the task has {name} {ours}, an episode of the teacher {theirs}")
            if (part.lengths == 0).any():
                raise ValueError(f"demonstrations: episode {part.episode[part.lengths == 0][0]} has no steps")
        copies = Counter((part.seed, e) for part in self.parts for e in part.episode.tolist())
        if (known := sum(copies.values())) - max(copies.values()) < self.count:
            raise ValueError(
                f"demonstrations: from {known} episodes {self.count} cannot be chosen for every game, none of which is "
                "shown itself; give more"
            )

    def picked(self, public: Public, episodes: Ints, seed: int) -> list[list[tuple[Episodes, int]]]:
        """For each game, the demonstrations that stand before it: the episodes, and which of them."""
        pool = [(part, b) for part in self.parts for b in range(len(part))]
        itself = np.array([[part.seed == seed and part.episode[b] == e for part, b in pool] for e in episodes.tolist()])
        order = np.where(itself, np.inf, self._order(pool, public, episodes, seed))
        return [[pool[i] for i in row[: self.count]] for row in np.argsort(order, axis=1, kind="stable").tolist()]

    def _order(self, pool: Sequence[tuple[Episodes, int]], public: Public, episodes: Ints, seed: int) -> Floats:
        """[B, pool] the lower, the sooner shown."""
        luck = tape.uniform(tape.key(seed, Stream.DEMONSTRATION, episodes[:, None], np.arange(len(pool))))
        if self.choose == "random":
            return luck
        if self.choose == "regret":
            return np.broadcast_to(np.concatenate([_regret(part) for part in self.parts]), luck.shape)
        far = [_distance(part.public, public) for part, _ in pool]
        return luck + np.unique(far, return_inverse=True)[1]


def as_demonstrations(given: Any) -> Any:
    """Episodes instead of one demonstration drawn from them."""
    return Demonstrations(given) if isinstance(given, Episodes) else given


def _regret(part: Episodes) -> Floats:
    """[B] regret per step; forfeited steps cost as much as the worst one that is known."""
    played = np.arange(part.horizon) < part.lengths[:, None]
    gap = np.where(played, np.where(np.isnan(part.gap), np.nanmax(part.gap, initial=0.0), part.gap), 0.0)
    if part.public.kind == "best-arm":
        return np.asarray(gap[np.arange(len(part)), part.lengths - 1])
    return np.asarray(gap.sum(axis=1) / part.lengths)


def _distance(a: Public, b: Public) -> float:
    """Of two tasks, by what is known beforehand: differences of log horizons and of log noise."""
    pairs = ((a.horizon, b.horizon), (a.noise_sd, b.noise_sd))
    return float(sum(abs(np.log(x / y)) for x, y in pairs if x and y))
