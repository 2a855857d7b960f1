"""What a summary tells of the past: pulls, means, spreads and last rewards of each arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from icrl.envs.types import Bools, Floats, Ints
from icrl.prompts.history import Summary


@dataclass(frozen=True)
class Totals:
    """Sums over the past of each row and arm, [R, K]; advanced in place."""

    pulls: Ints
    total: Floats
    squares: Floats
    """Sum of squared deviations from the mean."""
    last: Floats
    """[R, K, L] the last rewards, the newest at the end; NaN where there are fewer."""

    @classmethod
    def none(cls, rows: int, n_arms: int, last: int = 0) -> Self:
        """Nothing pulled yet."""
        shape = (rows, n_arms)
        return cls(np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape), np.full((*shape, last), np.nan))

    @classmethod
    def of(cls, arms: Ints, rewards: Floats, n_arms: int, last: int = 0) -> Self:
        """Of one row, after steps [t]."""
        totals = cls.none(1, n_arms, last)
        for t in range(len(arms)):
            totals.add(arms[t : t + 1], rewards[t : t + 1])
        return totals

    def add(self, arms: Ints, rewards: Floats) -> None:
        """Counts one pull of each row; a forfeited step (arm -1) counts for none."""
        rows = np.flatnonzero(arms >= 0)
        at, paid = (rows, arms[rows]), rewards[rows]
        before = self.total[at] / np.maximum(self.pulls[at], 1)
        self.pulls[at] += 1
        self.total[at] += paid
        self.squares[at] += (paid - before) * (paid - self.total[at] / self.pulls[at])  # Welford
        if self.last.shape[2]:
            self.last[at] = np.concatenate([self.last[at][:, 1:], paid[:, None]], axis=1)

    def rows(self) -> list[list[tuple[Any, ...]]]:
        """Of each row and arm: pulls, mean, standard deviation of the rewards, and its last rewards."""
        n = np.maximum(self.pulls, 1)
        columns = (x.tolist() for x in (self.pulls, self.total / n, np.sqrt(self.squares / n), self.last))
        return [
            [(k, m, s, [x for x in last if x == x]) for k, m, s, last in zip(*row, strict=True)]
            for row in zip(*columns, strict=True)
        ]

    def cleared(self) -> Self:
        """Nothing pulled yet."""
        rows, n_arms, last = self.last.shape
        return self.none(rows, n_arms, last)

    def take(self, rows: Bools) -> Self:
        """Keeps some rows."""
        return replace(self, **{name: cells[rows] for name, cells in vars(self).items()})


def line(
    texts: Mapping[str, str],
    history: Summary,
    paid: Callable[[float], str],
    pulls: int,
    mean: float,
    spread: float,
    last: Sequence[float],
) -> str:
    """One arm's line, but for its label.

    Args:
        texts: The scenario's.
        history: What is told.
        paid: A reward as text.
        pulls: And the rest: what `Totals.rows` knows of the arm.
        mean: Of its rewards.
        spread: Their standard deviation.
        last: The last ones.
    """
    if not pulls:
        return texts["untried"]
    digits = 2 if history.decimals is None else history.decimals
    text = f"{mean:z.{digits}f}"
    if history.spread:
        text += f", spread {spread:z.{digits}f}"
    if history.last:
        text += f", last {' '.join(map(paid, last))}"
    return texts["tried"].replace("{pulls}", str(pulls)).replace("{mean}", text)
