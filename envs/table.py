"""A contextual bandit of a few contexts: a table of means, one row per context."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from icrl.envs import tape
from icrl.envs.bandit import BanditState, MeansBandit
from icrl.envs.means import APART
from icrl.envs.tape import Keys, Stream
from icrl.envs.types import Floats, Instances, Ints, Outcome, Public, Truth, View


@dataclass(frozen=True)
class TableState(BanditState):
    """Live rows; `means` are those of the context that is seen."""

    table: Floats
    """[R, C, K]"""
    context: Ints
    """[R] index of the context."""
    stream: Keys
    """[R] the streams that contexts are drawn from."""


class Contexts(MeansBandit):
    """At each step one of `n_contexts` contexts is seen, each as likely; every context has means of its own.

    The context vector is one-hot, so that a linear algorithm with parameters per arm is one player per context.

    Attributes:
        n_contexts: How many there are.
        text: Whether views name the context too: case 1, case 2, ...
    """

    kind: Literal["contexts"] = "contexts"
    n_contexts: Annotated[int, Field(ge=2)] = 3
    text: bool = False

    @property
    def public(self) -> Public:
        """All that an agent may know beforehand."""
        return replace(super().public, kind="contextual", context_dim=self.n_contexts)

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """Nothing: means depend on the context."""
        return Instances()

    def start(self, episodes: Ints, seed: int) -> TableState:
        """The first state of these episodes."""
        own = [self.means.draw(self.n_arms, episodes + c * APART, seed) for c in range(self.n_contexts)]
        table = np.stack(own, axis=1)
        stream = tape.key(seed, Stream.CONTEXT, episodes)
        begun = self._start(episodes, seed, table[:, 0])
        return self._seen(TableState(**vars(begun), table=table, context=np.zeros_like(episodes), stream=stream))

    def view(self, state: BanditState) -> View:
        """What may be seen: the context, as a one-hot vector, as a state, and by name."""
        assert isinstance(state, TableState)
        named = tuple(f"case {c + 1}" for c in state.context.tolist()) if self.text else None
        hot = np.eye(self.n_contexts)[state.context]
        return replace(super().view(state), context=hot, state=state.context, obs=named)

    def step(self, state: BanditState, arm: Ints) -> tuple[BanditState, Outcome, Truth]:
        """One pull per row; then the next context comes."""
        after, outcome, truth = super().step(state, arm)
        assert isinstance(after, TableState)
        return self._seen(replace(after, stream=tape.following(after.stream))), outcome, truth

    def _seen(self, state: TableState) -> TableState:
        """The state in its next context."""
        context = (tape.uniform(state.stream) * self.n_contexts).astype(np.int64)
        return replace(state.having(state.table[np.arange(len(context)), context]), context=context)
