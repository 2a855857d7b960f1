"""What an agent is: a pure fold over what it saw, chose and got."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from icrl.envs.types import Bools, Choice, Ints, Names, Outcome, Public, View

S = TypeVar("S")


class Agent(Protocol[S]):
    """Picks arms for R episodes at once.

    The state `S` is carried by the loop and never stored: it is a function of the agent, the seed and the
    history, and can be folded again from a stored history by `replay`. `act` and `update` may advance the arrays
    inside a state in place; the caller uses only the state that they return.
    """

    @property
    def block(self) -> int | None:
        """Episodes are always played in whole blocks of this many indices; None: in batches of any size.

        Blocks are for algorithms: a run folder keeps whole episodes of them, arms and rewards only.
        """
        ...

    def check(self, public: Public) -> None:
        """Raises ValueError if the agent cannot play such a task, before anything is played."""
        ...

    def names(self, public: Public, episodes: Ints, seed: int) -> Names | None:
        """The labels that the agent shows for the arms of these episodes; None if it shows none."""
        ...

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> S: ...

    def act(self, state: S, view: View) -> tuple[S, Choice]: ...

    def update(self, state: S, view: View, choice: Choice, outcome: Outcome) -> S: ...

    def take(self, state: S, rows: Bools) -> S:
        """Keeps the rows of episodes that go on."""
        ...


AnyAgent = Agent[Any]
