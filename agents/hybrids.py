"""Agents around agents: each arm tried first, exploration mixed in, two players in turns.

Where a step needs no model, none is asked; such cells of `usage` hold -1, so `icrl.metrics.model_calls` counts the
calls. `probs` are those of the player that moved, given that it moved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from icrl.agents.base import AnyAgent
from icrl.agents.dice import any_of
from icrl.agents.hybrid import CONFIG, Both, Hybrid, Player, labelled, merged, of_one_game
from icrl.agents.simple import Rate
from icrl.envs.types import Choice, Floats, Ints, Names, Public, View


@dataclass(frozen=True, config=CONFIG)
class TryAll(Hybrid):
    """Each arm once, in a drawn order, then `agent` (Schmied et al. 2025 found it the best cheap help)."""

    agent: Player

    @property
    def players(self) -> tuple[AnyAgent, ...]:
        """The agent."""
        return (self.agent,)

    def check(self, public: Public) -> None:
        """Raises ValueError unless an episode is one game and the agent can play it."""
        super().check(public)
        of_one_game(self, public)

    def act(self, state: Both, view: View) -> tuple[Both, Choice]:
        """An untried arm; the agent where there is none."""
        new = view.legal & (state.pulls == 0)
        forced = new.any(axis=1)
        state, choice = self.ask(0, state, view, ~forced)
        probs = new / np.maximum(new.sum(axis=1, keepdims=True), 1)
        untried = Choice(any_of(new, self.luck(state, view))[:, None], probs[:, None])
        return state, merged(forced, untried, choice, state.names)


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

    def rate(self, state: Both, view: View) -> Floats:
        """[R] probability of any arm."""
        return np.full(len(view.t), self.epsilon)

    def act(self, state: Both, view: View) -> tuple[Both, Choice]:
        """The agent's arm, or any."""
        state, choice = self.ask(0, state, view, np.ones(len(view.t), np.bool_))
        rate = self.rate(state, view)
        explore = self.luck(state, view) < rate
        arm = np.where(explore, any_of(view.legal, self.luck(state, view, 1)), choice.arm[:, 0])
        said = choice.text or (None,) * len(arm)
        text = labelled([None if x else s for s, x in zip(said, explore, strict=True)], arm, state.names)
        ids = None if choice.ids is None else np.where(explore[:, None], -1, choice.ids)
        chance = view.legal / view.legal.sum(axis=1, keepdims=True)
        rate, chance = rate[:, None, None], chance[:, None]
        probs = None if choice.probs is None else rate * chance + (1 - rate) * choice.probs
        thought = choice.thought and tuple(
            "" if x else said for said, x in zip(choice.thought, explore.tolist(), strict=True)
        )
        return state, replace(choice, arm=arm[:, None], probs=probs, text=text, ids=ids, thought=thought)


@dataclass(frozen=True, config=CONFIG)
class NoiseCurriculum(EpsilonMix):
    """First any arm, then `agent` more and more: a history of learning, whoever the agent is.

    The share of random arms falls from 1 to `epsilon` in a straight line over `over` of the horizon, and stays there
    (AD^eps, Zisman et al. 2023, arXiv 2312.12275: over 90 % of the steps).
    """

    epsilon: Rate = 0.0
    over: Annotated[float, Field(gt=0, le=1)] = 0.9

    def check(self, public: Public) -> None:
        """Raises ValueError without a horizon, or if the agent cannot play."""
        if public.horizon is None:
            raise ValueError("agent: NoiseCurriculum needs a horizon, the task has none")
        super().check(public)

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Both:
        """The agent at its beginning."""
        steps = np.full(len(episodes), self.over * (public.horizon or 0))
        return replace(super().start(public, names, episodes, seed), extra=(steps,))

    def rate(self, state: Both, view: View) -> Floats:
        """[R] probability of any arm."""
        (steps,) = state.extra
        rate: Floats = 1 + (self.epsilon - 1) * np.minimum(view.t / steps, 1.0)
        return rate


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
        first = self.luck(state, view) < self.schedule.at(view.t)
        state, ours = self.ask(0, state, view, first)
        state, theirs = self.ask(1, state, view, ~first)
        return state, merged(first, ours, theirs, state.names)
