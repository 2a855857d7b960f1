"""`LLMAgent`: a language model, a prompt and a temperature.

The state is a conversation per row (`icrl.prompts.talk`), and what the strength of a steering goes by. The model
itself is stateless; its cache finds what it has read before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from icrl.agents.asking import Asked, scored
from icrl.agents.catalogue import able
from icrl.agents.classical import dealt
from icrl.agents.steering import Steering
from icrl.agents.thinking import think
from icrl.agents.writing import written
from icrl.envs.types import Bools, Choice, Ints, Names, Outcome, Public, View
from icrl.models.base import Model
from icrl.prompts.bounds import longest
from icrl.prompts.chat import Chat
from icrl.prompts.instructions import refuses
from icrl.prompts.pieces import Pieces
from icrl.prompts.prompt import Prompt
from icrl.prompts.talk import Talk
from icrl.prompts.writer import Writer


@dataclass(frozen=True)
class Playing:
    """The state of R episodes."""

    talk: Talk
    strength: Any = None
    """Of the policy by which the steering's strength is found."""


@dataclass(frozen=True)
class LLMAgent:
    """A language model that plays.

    Args:
        model: What `icrl.load_model` returns.
        prompt: How the history is told and the answer read.
        temperature: Of the policy over the labels; 0 takes the most probable one.
        steering: What is added to the model's residual stream while it answers.

    Raises:
        ValueError: The temperature is negative or not a number.
    """

    model: Model
    prompt: Prompt = field(default_factory=Prompt)
    temperature: float = 1.0
    steering: Steering | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature: must be a number of at least 0, got {self.temperature}")
        if not isinstance(self.steering, Steering | None):
            raise ValueError(f"steering: must be a Steering(vector, strength), got {self.steering!r}")

    def __repr__(self) -> str:
        steered = "" if self.steering is None else f", steering={self.steering}"
        return f"LLMAgent(model={self.model.facts}, prompt={self.prompt}, temperature={self.temperature}{steered})"

    @property
    def block(self) -> int | None:
        """Any batch: each row's randomness is keyed by its episode and time."""
        return None

    @property
    def scores(self) -> bool:
        """Whether the policy is read from probabilities; if not, answers are written."""
        return self.prompt.scored and self.model.exact

    @cached_property
    def _chat(self) -> Chat:
        return Chat.of(self.model.tokenizer, self.prompt.thinks)

    @cached_property
    def _pieces(self) -> Pieces:
        return Pieces(self.model.tokenizer)

    def writer(self, public: Public) -> Writer:
        """Writes this agent's prompts for a task."""
        return Writer(self.prompt, public, self._pieces, self._chat)

    def check(self, public: Public) -> None:
        """Raises ValueError if labels are too few, the model cannot be steered so, or its window is too narrow."""
        if why := refuses(public):
            raise ValueError(f"{why}; {able(public)}")
        self.names(public, np.arange(1), 0)  # are there enough labels?
        for mark in self.model.tokenizer.all_special_tokens:
            if said := [word for word in self.prompt.words if mark in word]:
                raise ValueError(f"labels: {said[0]!r} holds {mark!r}, which is a mark of this model's own")
        self._told_apart(self._pieces)
        if self.steering is not None:
            self.steering.check(self.model, public, self.scores and not self.prompt.thinks)
        most, window = longest(self.writer(public)), self.model.window
        if most > window:
            raise ValueError(
                f"prompt: at t={public.horizon} it may be {most} tokens long, but the window of {self.model.name} "
                f"is {window}; use a shorter horizon, a budget, or history='summary'"
            )

    def _told_apart(self, encode: Pieces) -> None:
        """Raises ValueError if two labels are the same tokens: words that a small tokenizer does not know."""
        known: dict[bytes, str] = {}
        for word in self.prompt.words:
            if (other := known.setdefault(encode(word).tobytes(), word)) != word:
                raise ValueError(f"labels: {other!r} and {word!r} are the same tokens for {self.model.name}")

    def names(self, public: Public, episodes: Ints, seed: int) -> Names | None:
        """Labels drawn by the prompt."""
        return self.prompt.names(public, episodes, seed)

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Playing:
        """Conversations that hold the instructions only."""
        names = names or self.prompt.names(public, episodes, seed)
        talk = Talk.begin(self.writer(public), names, episodes, seed, dealt)
        return Playing(talk, self.steering and self.steering.policy.start(public, names, episodes, seed))

    def asked(self, state: Playing, view: View) -> Asked:
        """What the model is to be asked; `talk` is the conversations after that."""
        talk, prompts = state.talk.asked(view)
        steers = [None] * len(prompts) if self.steering is None else self.steering.steers(state.strength, view, prompts)
        return Asked(self.model, self.temperature, talk, view, prompts, steers)

    def act(self, state: Playing, view: View) -> tuple[Playing, Choice]:
        """Asks the model once for the whole batch: again for a thought, a second arm, or an unreadable answer."""
        asked = self.asked(state, view)
        return replace(state, talk=asked.talk), self.decide(asked)

    def decide(self, asked: Asked) -> Choice:
        """Lets the model think, if it does, and answer."""
        thoughts = think(asked) if self.prompt.thinks else None
        choice = self.answer(asked if thoughts is None else thoughts.before(asked))
        if thoughts is not None:
            choice = thoughts.beside(choice, asked.talk)
        return choice if self.prompt.budget is None else replace(choice, dropped=asked.talk.dropped)

    def answer(self, asked: Asked) -> Choice:
        """What follows the thought, if there is one."""
        return scored(asked) if self.scores else written(asked)

    def update(self, state: Playing, view: View, choice: Choice, outcome: Outcome) -> Playing:
        """Adds the step to the conversations."""
        talk, steering = state.talk.answered(view, choice, outcome), self.steering
        return Playing(talk, steering and steering.policy.update(state.strength, view, choice, outcome))

    def take(self, state: Playing, rows: Bools) -> Playing:
        """Keeps the rows of episodes that go on."""
        return Playing(state.talk.take(rows), self.steering and self.steering.policy.take(state.strength, rows))
