"""An agent that begins anew in each game of an episode: what others are measured by that learn from game to game."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace

import numpy as np
from pydantic.dataclasses import dataclass

from icrl.agents.base import AnyAgent
from icrl.agents.hybrid import CONFIG, Both, Hybrid, Player
from icrl.envs.trials import game_seed
from icrl.envs.types import Choice, Floats, Ints, Names, Outcome, Public, View


@plain_dataclass(frozen=True, kw_only=True)
class Game(Both):
    """The game that is being played; `seed` is that of this game."""

    public: Public
    """Of the whole episode."""
    first: int
    """The seed of the first game."""


@dataclass(frozen=True, config=CONFIG)
class Restarting(Hybrid):
    """Forgets everything when a new game begins: `agent` plays each game as if it were the only one.

    In game i it plays as it does on the task of one game under the seed `icrl.envs.trials.game_seed(seed, i)`, so that
    an algorithm plays the very games that it would play there. Around an algorithm it also advises (`hints`).
    """

    agent: Player

    @property
    def players(self) -> tuple[AnyAgent, ...]:
        """The agent."""
        return (self.agent,)

    def check(self, public: Public) -> None:
        """Raises ValueError if the agent cannot play one game."""
        if public.trials > 1 and public.horizon is None:
            raise ValueError(f"horizon: Restarting must know how long a game is, got None for {public.trials} games")
        super().check(_alone(public))

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Game:
        """The agent before the first game."""
        return self._begun(public, names, episodes, seed, 0)

    def act(self, state: Both, view: View) -> tuple[Both, Choice]:
        """The agent's choice."""
        return self.ask(0, state, _within(state, view), np.ones(len(view.t), np.bool_))

    def advise(self, state: Both, view: View) -> Mapping[str, Floats]:
        """The agent's numbers.

        Raises:
            ValueError: The agent has none, because it is no `icrl.prompts.Adviser`.
        """
        if not callable(advise := getattr(self.agent, "advise", None)):
            raise ValueError(f"agent: must be an algorithm that advises, such as UCB(), got {self.agent!r}")
        numbers: Mapping[str, Floats] = advise(state.parts[0], _within(state, view))
        return numbers

    def update(self, state: Both, view: View, choice: Choice, outcome: Outcome) -> Both:
        """The agent's state after the step; after the last step of a game, that before the next one."""
        assert isinstance(state, Game)
        trials, game = state.public.trials, state.public.game
        if game and trials > 1 and len(view.t) and (view.t[0] + 1) % game == 0:  # rows move in lockstep
            trial = int(view.t[0] + 1) // game
            return self._begun(state.public, state.names, view.episode, state.first, trial)
        return super().update(state, _within(state, view), choice, outcome)

    def _begun(self, public: Public, names: Names | None, episodes: Ints, seed: int, trial: int) -> Game:
        names = names or self.names(public, episodes, seed)
        before = super().start(_alone(public), names, episodes, game_seed(seed, trial))
        return Game(**vars(before), public=public, first=seed)


def _alone(public: Public) -> Public:
    """What is known of one game."""
    return replace(public, horizon=public.game, trials=1)


def _within(state: Both, view: View) -> View:
    """What is seen, with the time counted from the beginning of the game."""
    assert isinstance(state, Game)
    game = state.public.game
    if game is None or state.public.trials == 1:
        return view
    return replace(view, t=view.t % game, trial=np.zeros_like(view.trial))
