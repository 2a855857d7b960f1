"""Agents around agents: each arm tried first, exploration mixed in, two players in turns.

A hybrid of algorithms plays whole blocks, as they do. With a model in it, it plays any batch: its algorithms then draw
by episode and time (`icrl.agents.dice.Keyed`). Where a step needs no model, none is asked; such cells of `usage` hold
-1, so `icrl.metrics.model_calls` counts the calls. `probs` are those of the player that moved, given that it moved.
"""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import ConfigDict, Field, SkipValidation
from pydantic.dataclasses import dataclass

from icrl.agents.base import AnyAgent
from icrl.agents.classical import Rows
from icrl.agents.dice import BLOCK, Keyed
from icrl.agents.simple import Rate
from icrl.envs import tape
from icrl.envs.episodes import nothing
from icrl.envs.tape import Stream
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View

CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
Player = Annotated[AnyAgent, SkipValidation]
C = TypeVar("C", View, Choice)


@plain_dataclass(frozen=True)
class Both:
    """What a hybrid carries: the states of its players, and what is drawn or counted beside them."""

    parts: tuple[Any, ...]
    names: Names | None
    seed: int
    pulls: Ints
    """[R, K]"""
    extra: tuple[Any, ...] = ()
    """Arrays [R, ...] of a subclass."""


class Hybrid:
    """The methods of `icrl.agents.Agent` for players that all see every step; a subclass gives `players` and `act`."""

    @property
    def players(self) -> tuple[AnyAgent, ...]:
        """The agents inside."""
        raise NotImplementedError

    @property
    def block(self) -> int | None:
        """Whole blocks, if all players are algorithms."""
        return BLOCK if all(player.block == BLOCK for player in self.players) else None

    def check(self, public: Public) -> None:
        """Raises ValueError unless all players can play such a task."""
        for player in self.players:
            player.check(public)
        if public.slots != 1:
            raise ValueError(f"agent: {type(self).__name__} chooses one arm per step, the task asks for {public.slots}")

    def names(self, public: Public, episodes: Ints, seed: int) -> Names | None:
        """The labels of the first player that shows some."""
        found = (player.names(public, episodes, seed) for player in self.players)
        return next((names for names in found if names is not None), None)

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Both:
        """All players at their beginning."""
        names = names or self.names(public, episodes, seed)
        parts = tuple(player.start(public, names, episodes, seed) for player in self.players)
        return Both(parts, names, seed, np.zeros((len(episodes), public.n_arms), np.int64))

    def update(self, state: Both, view: View, choice: Choice, outcome: Outcome) -> Both:
        """All players see what was played, whoever chose it."""
        rows = np.flatnonzero(choice.arm[:, 0] >= 0)
        state.pulls[rows, choice.arm[rows, 0]] += 1
        parts = []
        for player, part in zip(self.players, state.parts, strict=True):
            own = choice if player.block is None else Choice(choice.arm)
            parts.append(player.update(self._dealt(player, part, state, view, 1), view, own, outcome))
        return replace(state, parts=tuple(parts))

    def take(self, state: Both, rows: Bools) -> Both:
        """Keeps the rows of episodes that go on."""
        parts = tuple(player.take(part, rows) for player, part in zip(self.players, state.parts, strict=True))
        names = None if state.names is None else tuple(state.names[r] for r in np.flatnonzero(rows).tolist())
        extra = tuple(cells[rows] for cells in state.extra)
        return replace(state, parts=parts, names=names, pulls=state.pulls[rows], extra=extra)

    def ask(self, i: int, state: Both, view: View, rows: Bools) -> tuple[Both, Choice]:
        """Player i's choice in some rows, -1 and nothing in the others; a model is asked about those rows only."""
        player = self.players[i]
        part = self._dealt(player, state.parts[i], state, view, 0)
        if player.block is None and not rows.all():
            if not rows.any():
                return state, Choice(np.full((len(rows), 1), -1))
            _, choice = player.act(player.take(part, rows), _rows(view, rows))
            return state, _among(choice, rows)
        part, choice = player.act(part, view)
        parts = (*state.parts[:i], part, *state.parts[i + 1 :])
        return replace(state, parts=parts), choice if rows.all() else _among(_rows(choice, rows), rows)

    def _dealt(self, player: AnyAgent, part: Any, state: Both, view: View, use: int) -> Any:
        """A player's state; an algorithm's gets dice for this moment, if a model plays too."""
        if self.block is not None:
            return part
        if isinstance(player, Hybrid):
            inside = zip(player.players, part.parts, strict=True)
            return replace(part, parts=tuple(self._dealt(p, own, state, view, use) for p, own in inside))
        if isinstance(part, Rows):
            return replace(part, dice=Keyed.at(player, view.episode, state.seed, view.t, use))
        return part


def luck(state: Both, view: View, use: int) -> Floats:
    """[R] a uniform number of this step; `use` tells apart several of one step."""
    return tape.uniform(tape.key(state.seed, Stream.MIX, view.episode, view.t, use))


def any_of(allowed: Bools, u: Floats) -> Ints:
    """[R] one of the allowed arms of each row, each as likely; 0 where there is none."""
    rank = (u * allowed.sum(axis=1)).astype(np.int64)
    arm: Ints = (allowed.cumsum(axis=1) > rank[:, None]).argmax(axis=1)
    return arm


def over(choice: Choice, rows: Bools, arm: Ints, probs: Floats | None, state: Both) -> Choice:
    """`choice` with other arms in some rows, which no model chose: what stands in the history is the label."""
    arms = np.where(rows[:, None], arm[:, None], choice.arm)
    text = choice.text or (None if state.names is None else ("",) * len(arms))
    if text is not None and state.names is not None:
        cells = zip(text, state.names, arms[:, 0].tolist(), rows.tolist(), strict=True)
        text = tuple(names[a] if forced and a >= 0 else said for said, names, a, forced in cells)
    none = {"mass": np.nan, "ids": -1, "failed": -1, "usage": -1}
    kept = {k: _blank(getattr(choice, k), rows, fill) for k, fill in none.items()}
    ours, theirs = choice.probs, None if probs is None else probs[:, None]
    if ours is not None or theirs is not None:
        ours = np.where(rows[:, None, None], np.nan if theirs is None else theirs, np.nan if ours is None else ours)
    return replace(choice, arm=arms, text=text, probs=ours, **kept)


def _blank(cells: Any, rows: Bools, fill: float) -> Any:
    if cells is None:
        return None
    return np.where(rows.reshape(-1, *[1] * (cells.ndim - 1)), fill, cells).astype(cells.dtype)


def _rows(columns: C, rows: Bools) -> C:
    """The cells of some rows."""
    kept = np.flatnonzero(rows)
    values: dict[str, Any] = {k: v[rows] for k, v in vars(columns).items() if isinstance(v, np.ndarray)}
    values |= {k: tuple(v[r] for r in kept) for k, v in vars(columns).items() if isinstance(v, tuple)}
    return replace(columns, **values)


def _among(choice: Choice, rows: Bools) -> Choice:
    """A choice of some rows as one of all of them."""
    n = len(rows)
    cells: dict[str, Any] = {}
    for name, value in vars(choice).items():
        if isinstance(value, np.ndarray):
            cells[name] = nothing((n, *value.shape[1:]), value.dtype)
            cells[name][rows] = value
        elif isinstance(value, tuple):
            said = np.full(n, "", object)
            said[rows] = value
            cells[name] = tuple(said.tolist())
    return replace(choice, **cells)


@dataclass(frozen=True, config=CONFIG)
class TryAll(Hybrid):
    """Each arm once, in a drawn order, then `agent` (Schmied et al. 2025 found it the best cheap help)."""

    agent: Player

    @property
    def players(self) -> tuple[AnyAgent, ...]:
        """The agent."""
        return (self.agent,)

    def act(self, state: Both, view: View) -> tuple[Both, Choice]:
        """An untried arm; the agent where there is none."""
        new = view.legal & (state.pulls == 0)
        forced = new.any(axis=1)
        state, choice = self.ask(0, state, view, ~forced)
        probs = new / np.maximum(new.sum(axis=1, keepdims=True), 1)
        return state, over(choice, forced, any_of(new, luck(state, view, 0)), probs, state)


@dataclass(frozen=True, config=CONFIG)
class EpsilonMix(Hybrid):
    """With probability `epsilon` any legal arm, else `agent`.

    The agent is asked at every step, so that its `probs`, if it has them, become the exact ones of the mixture.
    """

    agent: Player
    epsilon: Rate = 0.1

    @property
    def players(self) -> tuple[AnyAgent, ...]:
        """The agent."""
        return (self.agent,)

    def act(self, state: Both, view: View) -> tuple[Both, Choice]:
        """The agent's arm, or any."""
        state, choice = self.ask(0, state, view, np.ones(len(view.t), np.bool_))
        explore = luck(state, view, 0) < self.epsilon
        arm = np.where(explore, any_of(view.legal, luck(state, view, 1)), choice.arm[:, 0])
        text = choice.text
        if text is not None and state.names is not None:
            cells = zip(text, state.names, arm.tolist(), explore.tolist(), strict=True)
            text = tuple(names[a] if random else said for said, names, a, random in cells)
        chance = view.legal / view.legal.sum(axis=1, keepdims=True)
        probs = None if choice.probs is None else self.epsilon * chance[:, None] + (1 - self.epsilon) * choice.probs
        ids = _blank(choice.ids, explore, -1)
        return state, replace(choice, arm=arm[:, None], probs=probs, text=text, ids=ids)


@dataclass(frozen=True, config=CONFIG)
class Schedule:
    """A share that goes in a straight line from `first` to `last` over `steps` steps, and stays there."""

    first: Rate
    last: Rate
    steps: Annotated[int, Field(ge=1)] = 1

    def at(self, t: Ints) -> Floats:
        """[R] the share at step t = 0, 1, ..."""
        return self.first + (self.last - self.first) * np.minimum(t / self.steps, 1.0)


@dataclass(frozen=True, config=CONFIG)
class Mixture(Hybrid):
    """At each step `llm` moves with the probability that `schedule` says, else `algorithm`.

    `Schedule(1, 0, 20)` hands over from the model to the algorithm within 20 steps (compare TS-LLM, arXiv 2502.01118).
    """

    llm: Player
    algorithm: Player
    schedule: Schedule = Schedule(0.5, 0.5)

    @property
    def players(self) -> tuple[AnyAgent, ...]:
        """The two."""
        return self.llm, self.algorithm

    def act(self, state: Both, view: View) -> tuple[Both, Choice]:
        """One of the two in each row."""
        first = luck(state, view, 0) < self.schedule.at(view.t)
        state, ours = self.ask(0, state, view, first)
        state, theirs = self.ask(1, state, view, np.ones(len(first), np.bool_))
        probs = None if theirs.probs is None else theirs.probs[:, 0]
        return state, over(ours, ~first, theirs.arm[:, 0], probs, state)
