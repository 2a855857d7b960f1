"""From a history to token ids, piece by piece: the one text for playing and for training.

A `Writer` concatenates token pieces. Each distinct piece of text meets the tokenizer once; constants, labels and
reward texts recur, so a step costs a few look-ups. It knows no model and draws no randomness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from icrl.envs.types import Public
from icrl.prompts.chat import Chat, ChatTokenizer
from icrl.prompts.prompt import Prompt
from icrl.prompts.scenario import number

Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class Writer:
    """Writes one prompt's texts as tokens of one tokenizer.

    Raises:
        ValueError: The layout is `turns`, but the model has no chat template.
    """

    prompt: Prompt
    public: Public
    tokenizer: ChatTokenizer
    chat: Chat
    pieces: dict[str, Tokens] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.prompt.layout == "turns" and not self.chat.template:
            raise ValueError("layout: 'turns' needs a model with a chat template; use layout='log' with this one")

    def encode(self, text: str) -> Tokens:
        """Token ids of a piece of text, by itself."""
        if (ids := self.pieces.get(text)) is None:
            ids = np.array(self.tokenizer.encode(text, add_special_tokens=False), np.int32)
            self.pieces[text] = ids
        return ids

    @property
    def turns(self) -> bool:
        """Whether past answers are turns of their own."""
        return self.prompt.layout == "turns" and self.prompt.append_only

    def head(self, names: Sequence[str]) -> Tokens:
        """All that stands before the first step."""
        story, chat = self.prompt.scenario, self.chat
        system = story.instructions(tuple(names), self.public)
        before, rest = system.split("\n".join(names), 1)
        opening = story.first + chat.answer if self.turns else story.log if self.prompt.append_only else story.summary
        lines = [piece for name in names for piece in (name, "\n")][:-1]
        texts = (chat.begin + before, *lines, rest + chat.opened + opening)
        return np.concatenate([self.encode(text) for text in texts])

    def step(self, text: str, name: str | None, reward: float) -> tuple[Tokens, ...]:
        """What a step adds to a raw history: in a chat the answer first, then all up to the next answer (or tail).

        Args:
            text: What the model answered; a log shows only what was pulled.
            name: Label of the arm that was pulled; None where the step was forfeited.
            reward: Of that pull.
        """
        story, chat = self.prompt.scenario, self.chat
        if not self.turns:
            return (self.encode(story.lost),) if name is None else self._told(story.line, name, reward)
        if name is None:
            return self.encode(text), self.encode(chat.after + story.forfeit + chat.answer)
        return self.encode(text), *self._told(chat.after + story.feedback + chat.answer, name, reward)

    def _told(self, template: str, name: str, reward: float) -> tuple[Tokens, ...]:
        """A text around a label; the label is a piece of its own, so that it is the same tokens everywhere."""
        before, label, after = template.partition("{label}")
        said = number(reward, self.public)
        before, after = before.replace("{reward}", said), after.replace("{reward}", said)
        return self.encode(before), self.encode(name if label else ""), self.encode(after)

    def summary(self, name: str, pulls: int, mean: float) -> tuple[Tokens, ...]:
        """The line of one arm in a summary; the mean has two decimals."""
        story = self.prompt.scenario
        template = (story.tried if pulls else story.untried).replace("{pulls}", str(pulls))
        return self._told(template.replace("{mean}", f"{mean:.2f}"), name, 0.0)

    def tail(self) -> Tokens:
        """What follows the stem for the time of one answer only."""
        return self.encode("" if self.turns else self.prompt.scenario.query + self.chat.answer)

    def choices(self, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Token ids of each label as an answer, with what ends an answer."""
        end = int(self.encode(self.chat.after)[0])
        return tuple((*self.encode(name).tolist(), end) for name in names)

    def longest(self) -> int:
        """An upper bound of the tokens of a prompt at the last step, whatever is drawn.

        Raises:
            ValueError: The task has no horizon, so there is no bound.
        """
        if self.public.horizon is None:
            raise ValueError("horizon: the task has none, so the length of its prompts has no bound")
        k, words = self.public.n_arms, self.prompt.words
        widest = sorted(words, key=lambda word: len(self.encode(word)))[-k:]
        answer = len(self.encode(widest[-1])) if self.prompt.answer == "direct" else self.prompt.max_tokens
        numbers = (0.0, 1.0) if self.public.reward == "bernoulli" else (-99.99, 99.99)
        if self.prompt.append_only:
            pulled = (widest[-1], None) if self.prompt.answer == "free" else (widest[-1],)  # None may be the longer one
            told = max(sum(map(len, self.step("", name, x))) for name in pulled for x in numbers)
            body = self.public.horizon * (told + (answer if self.turns else 0))
        else:
            body = k * sum(map(len, self.summary(widest[-1], self.public.horizon, -99.99)))
        return len(self.head(widest)) + body + len(self.tail()) + answer + 1
