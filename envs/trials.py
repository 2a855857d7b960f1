"""Several games in one episode, so that an agent may learn from one game how to play the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from icrl.envs import tape
from icrl.envs.bandit import Bandit
from icrl.envs.moving import Drifting, Switching
from icrl.envs.noise import paid
from icrl.envs.sets import ActionSets
from icrl.envs.spec import Spec
from icrl.envs.tape import Stream
from icrl.envs.types import Bools, Instances, Ints, Outcome, Public, Truth, View, put, take

_PLAYED = (Bandit, Switching, Drifting, ActionSets)


def game_seed(seed: int, trial: int) -> int:
    """The seed under which game `trial` of each episode is played; that of the first game is `seed` itself.

    Game i of episode e is episode e of the task under another seed. So in each game the best positions are
    counterbalanced over episodes, and say nothing of those in other games; with other indices instead of another seed
    they would follow upon one another (see `icrl.envs.means.turns`).
    """
    return seed if trial == 0 else int(tape.key(seed, Stream.TRIAL, trial))


@dataclass(frozen=True)
class TrialsState:
    """Live rows."""

    episode: Ints
    t: Ints
    """[R] steps taken in all games."""
    parts: tuple[Any, ...]
    """Of each game, the states of all rows."""


class Trials(Spec):
    """Games of `task` one after the other, each with other means and luck of its own (few-shot or meta learning).

    An episode ends with its last game. `View.trial` tells the game; `View.t` counts the steps of all games.

    Attributes:
        task: A `Bandit`, `Switching`, `Drifting` or `ActionSets`; its horizon is the length of a game.
        games: How many.
    """

    kind: Literal["trials"] = "trials"
    task: Annotated[Bandit | Switching | Drifting | ActionSets, Field(discriminator="kind")]
    games: Annotated[int, Field(ge=2)]

    @field_validator("task", mode="before")
    @classmethod
    def _is_played_in_games(cls, given: Any) -> Any:
        kind = given.get("kind") if isinstance(given, dict) else getattr(given, "kind", given)
        known = [played.model_fields["kind"].default for played in _PLAYED]
        if kind not in known:
            raise ValueError(f"must be of a kind that is played in games ({', '.join(known)}), got {kind!r}")
        return given

    @property
    def public(self) -> Public:
        """That of a game, with the horizon of all of them."""
        return replace(self.task.public, horizon=self.games * self.task.horizon, trials=self.games)

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """Nothing: there are no means for a whole episode."""
        return Instances()

    def start(self, episodes: Ints, seed: int) -> TrialsState:
        """All games of these episodes before their first step."""
        parts = tuple(self.task.start(episodes, game_seed(seed, i)) for i in range(self.games))
        return TrialsState(episodes, np.zeros_like(episodes), parts)

    def view(self, state: TrialsState) -> View:
        """What each row's present game shows."""
        legal = np.ones((len(state.t), self.task.n_arms), np.bool_)
        if self.public.variable:
            for i, rows in self._rows(state):
                legal[rows] = self.task.view(take(state.parts[i], rows)).legal
        return View(state.episode, state.t, self._trial(state), legal)

    def step(self, state: TrialsState, arm: Ints) -> tuple[TrialsState, Outcome, Truth]:
        """One step of each row's present game. The states of games are advanced in place."""
        reward, gap, best = np.empty(len(arm)), np.empty(len(arm)), np.empty_like(arm)
        for i, rows in self._rows(state):
            after, outcome, truth = self.task.step(take(state.parts[i], rows), arm[rows])
            put(state.parts[i], rows, after)
            reward[rows], gap[rows], best[rows] = outcome.reward, truth.gap, truth.best
        state = replace(state, t=state.t + 1)
        return state, paid(reward, state.t, self.games * self.task.horizon), Truth(gap, best)

    def _trial(self, state: TrialsState) -> Ints:
        """[R] the present game; after the end, the last one."""
        return np.minimum(state.t // self.task.horizon, self.games - 1)

    def _rows(self, state: TrialsState) -> Iterator[tuple[int, Bools]]:
        """Games that are being played, and the rows that play them: one game, unless rows began at different times."""
        trial = self._trial(state)
        for i in np.unique(trial).tolist():
            yield i, trial == i
