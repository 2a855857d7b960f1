"""How many tokens models may still read and write in a run folder."""

from __future__ import annotations

from icrl.agents.record import Step
from icrl.envs.types import USAGE
from icrl.experiments.cells import COUNTED
from icrl.experiments.store import Store


class BudgetSpent(Exception):
    """The tokens that an experiment allows are spent. No error: all that was played is kept."""


class Budget:
    """Counts what a folder holds and what is played now."""

    def __init__(self, store: Store, most: int | None) -> None:
        """`most`: the experiment's `tokens`."""
        self.store, self.most, self.spent = store, most, store.tokens()

    def count(self, step: Step) -> None:
        """Adds what a step took."""
        self.spent += sum(_tokens(step, name) for name in COUNTED)

    @property
    def is_spent(self) -> bool:
        """Whether no step may be played any more."""
        return self.most is not None and self.spent >= self.most

    def check(self, agent: str) -> None:
        """Raises BudgetSpent before a step that may not be played any more."""
        if not self.is_spent:
            return
        begun = self.store.progress(agent).values()
        steps, episodes = sum(n for n, _ in begun), sum(over for _, over in begun)
        raise BudgetSpent(
            f"tokens: {self.spent:,} of {self.most:,} are spent; {agent} has played {steps:,} steps and finished "
            f"{episodes:,} episodes, and all is kept: raise tokens in the experiment file and run again to continue"
        )


def fed(step: Step) -> int:
    """Tokens that models read at a step."""
    return _tokens(step, "fed")


def _tokens(step: Step, name: str) -> int:
    """One column of a step's usage; where no model was asked, it holds -1."""
    return 0 if step.choice.usage is None else int(step.choice.usage[:, USAGE.index(name)].clip(0).sum())
