"""What agents around agents share: their state, how one is asked in some rows only, how two choices become one.

A hybrid of algorithms plays whole blocks, as they do. With a model in it, it plays any batch: its algorithms then draw
by episode and time (`icrl.agents.dice.Keyed`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, PlainValidator

from icrl.agents.base import AnyAgent
from icrl.agents.classical import Drawing, dealt
from icrl.agents.dice import BLOCK
from icrl.agents.record import among
from icrl.envs import tape
from icrl.envs.episodes import nothing, widened
from icrl.envs.tape import Stream
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View

CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
C = TypeVar("C", View, Choice)


def agent(value: Any) -> AnyAgent:
    """The value itself, if it can play.

    Raises:
        ValueError: It has no `act`, or is a class.
    """
    if isinstance(value, type) or not callable(getattr(value, "act", None)):
        raise ValueError(f"must be an agent, such as UCB() or an LLMAgent, got {value!r}")
    playing: AnyAgent = value
    return playing


Player = Annotated[AnyAgent, PlainValidator(agent)]


@dataclass(frozen=True)
class Both(Drawing):
    """What a hybrid carries: the states of its players, and what is drawn or counted beside them."""

    parts: tuple[Any, ...]
    names: Names | None
    seed: int
    pulls: Ints
    """[R, K]"""
    extra: tuple[Any, ...] = ()
    """Arrays [R, ...] of a subclass."""

    def keyed(self, player: Any, view: View, seed: int, use: int) -> Self:
        """The same state with dice for this moment, for all players inside."""
        inside = zip(player.players, self.parts, strict=True)
        return replace(self, parts=tuple(dealt(own, part, view, seed, use) for own, part in inside))


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
            return state, among(choice, np.flatnonzero(rows), len(rows))
        part, choice = player.act(part, view)
        parts = (*state.parts[:i], part, *state.parts[i + 1 :])
        own = choice if rows.all() else among(_rows(choice, rows), np.flatnonzero(rows), len(rows))
        return replace(state, parts=parts), own

    @property
    def depth(self) -> int:
        """How many hybrids stand inside one another here, this one included."""
        return 1 + max(player.depth if isinstance(player, Hybrid) else 0 for player in self.players)

    def luck(self, state: Both, view: View, use: int = 0) -> Floats:
        """[R] a uniform number of this step, another one than the hybrids inside draw.

        Args:
            state: Of the rows.
            view: What they see.
            use: Tells apart several numbers of one step.
        """
        return tape.uniform(tape.key(state.seed, Stream.MIX, view.episode, view.t, self.depth, use))

    def _dealt(self, player: AnyAgent, part: Any, state: Both, view: View, use: int) -> Any:
        """A player's state; an algorithm's gets dice for this moment, if a model plays too."""
        return part if self.block is not None else dealt(player, part, view, state.seed, use)


def of_one_game(agent: AnyAgent, public: Public) -> None:
    """Raises ValueError if an agent that counts pulls would carry them from one game into the next."""
    if public.trials > 1:
        raise ValueError(
            f"agent: {type(agent).__name__} counts over one game only, but an episode has {public.trials}; put "
            "Restarting around it"
        )


def merged(rows: Bools, ours: Choice, theirs: Choice, names: Names | None) -> Choice:
    """`ours` in some rows and `theirs` in the others; what only one of them knows is missing where it did not move."""
    cells: dict[str, Any] = {}
    for name in ("arm", "probs", "mass", "ids", "failed", "usage", "dropped", "cut"):
        known = [x for x in (getattr(ours, name), getattr(theirs, name)) if x is not None]
        if known:
            a, b = (_known(getattr(choice, name), known[0]) for choice in (ours, theirs))
            a, b = widened([a, b]) if name == "ids" else (a, b)
            cells[name] = np.where(rows.reshape(-1, *[1] * (a.ndim - 1)), a, b)
    text = labelled(_either(rows, ours.text, theirs.text), cells["arm"][:, 0], names)
    pairs = {"thought": (ours.thought, theirs.thought), "refused": (ours.refused, theirs.refused)}
    for name, pair in pairs.items():
        if pair != (None, None):
            cells[name] = tuple(x or "" for x in _either(rows, *pair))
    return Choice(**cells, text=text, policy=ours.policy or theirs.policy)


def _either(rows: Bools, ours: tuple[str, ...] | None, theirs: tuple[str, ...] | None) -> list[str | None]:
    """Texts of `ours` in some rows and of `theirs` in the others."""
    none = [None] * len(rows)
    said = zip(ours or none, theirs or none, rows.tolist(), strict=True)
    return [a if first else b for a, b, first in said]


def _known(cells: NDArray[Any] | None, like: NDArray[Any]) -> NDArray[Any]:
    """Cells of nothing where there are none."""
    return nothing(like.shape, like.dtype) if cells is None else cells


def labelled(text: list[str | None], arms: Ints, names: Names | None) -> tuple[str, ...] | None:
    """Answers in words; where nothing was said (None), the label of the arm stands in the history."""
    if names is None:
        return None if all(said is None for said in text) else tuple(said or "" for said in text)
    pulled = (row[arm] if arm >= 0 else "" for row, arm in zip(names, arms.tolist(), strict=True))
    return tuple(label if said is None else said for said, label in zip(text, pulled, strict=True))


def _rows(columns: C, rows: Bools) -> C:
    """The cells of some rows."""
    kept = np.flatnonzero(rows)
    values: dict[str, Any] = {k: v[rows] for k, v in vars(columns).items() if isinstance(v, np.ndarray)}
    values |= {k: tuple(v[r] for r in kept) for k, v in vars(columns).items() if isinstance(v, tuple)}
    return replace(columns, **values)
