"""An algorithm beside conversations, whose numbers are told before each choice: the fold behind `Hints`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from icrl.envs.types import Bools, Choice, Ints, Names, Outcome, Public, View
from icrl.prompts.hints import Hints, controlled, drawn, lines
from icrl.prompts.scenario import Scenario

Deal = Callable[[Any, Any, View, int, int], Any]
"""Gives an adviser's state what it draws from at this moment: (adviser, state, view, seed, use) to the state."""


def as_it_is(_adviser: Any, state: Any, _view: View, _seed: int, _use: int) -> Any:
    """Of advisers that draw nothing."""
    return state


@dataclass(frozen=True)
class Advised:
    """R conversations whose player is advised."""

    notes: Hints
    story: Scenario
    seed: int
    deal: Deal
    state: Any
    """The adviser's."""

    @classmethod
    def begin(
        cls, notes: Hints, story: Scenario, public: Public, names: Names, episodes: Ints, seed: int, deal: Deal
    ) -> Self:
        """An adviser that has seen nothing yet."""
        return cls(notes, story, seed, deal, notes.adviser.start(public, names, episodes, seed))

    def hinted(self, view: View, names: Names) -> tuple[Self, list[list[str]]]:
        """What is said to each row, as `icrl.prompts.hints.lines`."""
        adviser = self.notes.adviser
        state, choice = adviser.act(self.deal(adviser, self.state, view, self.seed, 0), view)
        numbers, arms = controlled(self.notes, adviser.advise(state, view), choice.arm, view, self.seed)
        rows = []
        for row, (labels, arm) in enumerate(zip(names, arms.tolist(), strict=True)):
            there = np.flatnonzero(view.legal[row]).tolist()
            own = {name: cells[row].tolist() for name, cells in numbers.items()}
            rows.append(lines(self.notes, self.story, labels, there, own, arm))
        return replace(self, state=state), rows

    def updated(self, view: View, arm: Ints, outcome: Outcome) -> Self:
        """The adviser sees what was played, whoever chose it; for a control, random arms that were paid the same."""
        adviser = self.notes.adviser
        if self.notes.control == "random":
            arm = np.where(arm < 0, -1, drawn(view, self.seed)[:, : arm.shape[1]])
        state = self.deal(adviser, self.state, view, self.seed, 1)
        return replace(self, state=adviser.update(state, view, Choice(arm), outcome))

    def take(self, rows: Bools) -> Self:
        """Keeps the rows of episodes that go on."""
        return replace(self, state=self.notes.adviser.take(self.state, rows))
