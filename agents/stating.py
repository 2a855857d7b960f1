"""An algorithm that states its policy at every step, for off-policy estimates and for soft labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PlainValidator
from pydantic.dataclasses import dataclass

from icrl.agents.classical import DRAWS, Algorithm, Rows
from icrl.envs.types import Bools, Choice, Ints, Names, Outcome, Public, View


def _algorithm(value: Any) -> Algorithm[Any]:
    if not isinstance(value, Algorithm):
        raise ValueError(f"must be one of icrl.agents.ALGORITHMS, such as UCB(), got {value!r}")
    return value


@dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Stating:
    """Plays as `algorithm`, and stores its probabilities beside every choice.

    Args:
        algorithm: Any of `icrl.agents.ALGORITHMS`.
        draws: Of the Monte Carlo estimate, for algorithms that have no exact probabilities: (n + 1) / (draws + K)
            for an arm that n draws chose, so that no legal arm is said to be impossible. `Choice.policy` is `sampled`.
    """

    algorithm: Annotated[Algorithm[Any], PlainValidator(_algorithm)]
    draws: Annotated[int, Field(ge=1)] = DRAWS

    @property
    def block(self) -> int | None:
        """The algorithm's."""
        return self.algorithm.block

    def check(self, public: Public) -> None:
        """Raises ValueError if the algorithm cannot play such a task."""
        self.algorithm.check(public)

    def names(self, public: Public, episodes: Ints, seed: int) -> Names | None:
        """None."""
        return None

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Rows:
        """The algorithm's state."""
        state: Rows = self.algorithm.start(public, names, episodes, seed)
        return state

    def act(self, state: Rows, view: View) -> tuple[Rows, Choice]:
        """The algorithm's choice, with its policy."""
        after, choice = self.algorithm.act(state, view)
        probs = self.algorithm.policy(after, view, self.draws)
        if self.algorithm.exact(state.public):
            return after, replace(choice, probs=probs, policy="exact")
        legal = view.legal[:, None]
        probs = (self.draws * probs + legal) / (self.draws + legal.sum(axis=2, keepdims=True))
        return after, replace(choice, probs=probs, policy="sampled")

    def update(self, state: Rows, view: View, choice: Choice, outcome: Outcome) -> Rows:
        """The algorithm's state after the step."""
        updated: Rows = self.algorithm.update(state, view, choice, outcome)
        return updated

    def take(self, state: Rows, rows: Bools) -> Rows:
        """Keeps the rows of episodes that go on."""
        kept: Rows = self.algorithm.take(state, rows)
        return kept
