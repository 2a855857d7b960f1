"""From a history to token ids, piece by piece: the one text for playing and for training.

A `Writer` concatenates token pieces: constants, labels and reward texts recur, so a step costs a few look-ups. It
knows no model and draws no randomness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icrl.envs.types import Ints, Public
from icrl.prompts.chat import Chat
from icrl.prompts.pieces import Pieces, Tokens
from icrl.prompts.prompt import Prompt
from icrl.prompts.scenario import number


@dataclass(frozen=True)
class Writer:
    """Writes one prompt's texts as tokens of one tokenizer.

    Raises:
        ValueError: The layout is `turns`, but the model has no chat template.
    """

    prompt: Prompt
    public: Public
    encode: Pieces
    chat: Chat

    def __post_init__(self) -> None:
        if self.prompt.layout == "turns" and not self.chat.template:
            raise ValueError("layout: 'turns' needs a model with a chat template; use layout='log' with this one")

    @property
    def turns(self) -> bool:
        """Whether past answers are turns of their own."""
        return self.prompt.layout == "turns" and self.prompt.append_only

    def head(self, names: Sequence[str]) -> Tokens:
        """All that stands before the first step."""
        story, chat = self.prompt.scenario, self.chat
        before, rest = story.instructions(self.public)
        opening = story.first + chat.answer if self.turns else story.log if self.prompt.append_only else story.summary
        lines = [piece for name in names for piece in (name, "\n")][:-1]
        texts = (chat.begin + before, *lines, rest + chat.opened + opening)
        return np.concatenate([self.encode(text) for text in texts])

    def said(self, pulled: str | None, text: str | None = None, ids: Ints | None = None) -> Tokens:
        """A past answer: as it was generated, if that is known, else its text, else the label that was pulled."""
        if ids is not None and (ids >= 0).any():
            return ids[ids >= 0].astype(np.int32)
        return self.encode((pulled or "") if text is None else text)

    def step(self, answer: Tokens, name: str | None, reward: float) -> tuple[Tokens, ...]:
        """What a step adds to a raw history: in a chat the answer first, then all up to the next answer (or tail).

        Args:
            answer: What the model answered; a log shows only what was pulled.
            name: Label of the arm that was pulled; None where the step was forfeited.
            reward: Of that pull.
        """
        story, chat = self.prompt.scenario, self.chat
        if not self.turns:
            return (self.encode(story.lost),) if name is None else self._told(story.line, name, reward)
        if name is None:
            return answer, self.encode(chat.after + story.forfeit + chat.answer)
        return answer, *self._told(chat.after + story.feedback + chat.answer, name, reward)

    def _told(self, template: str, name: str, reward: float | None = None) -> tuple[Tokens, ...]:
        """A text around a label; the label is a piece of its own, so that it is the same tokens everywhere."""
        if reward is not None:
            template = template.replace("{reward}", number(reward, self.public))
        before, label, after = template.partition("{label}")
        return self.encode(before), self.encode(name if label else ""), self.encode(after)

    def summaries(self, names: Sequence[str], pulls: Sequence[int], means: Sequence[float]) -> tuple[Tokens, ...]:
        """The lines of all arms in a summary; means have two decimals."""
        lines = map(self._summary, names, pulls, means)
        return tuple(piece for line in lines for piece in line)

    def _summary(self, name: str, pulls: int, mean: float) -> tuple[Tokens, ...]:
        story = self.prompt.scenario
        template = (story.tried if pulls else story.untried).replace("{pulls}", str(pulls))
        return self._told(template.replace("{mean}", f"{mean:z.2f}"), name)

    def tail(self) -> Tokens:
        """What follows the stem for the time of one answer only."""
        return self.encode("" if self.turns else self.prompt.scenario.query + self.chat.answer)

    def choices(self, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Token ids of each label as an answer, with what ends an answer."""
        end = int(self.encode(self.chat.after)[0])
        return tuple((*self.encode(name).tolist(), end) for name in names)

    def longest(self) -> int:
        """An upper bound of the tokens of a prompt at the last step, whatever is drawn.

        Gaussian rewards have no bound; they are taken to lie within 99.99, or 40 standard deviations of the noise.

        Raises:
            ValueError: The task has no horizon, so there is no bound.
        """
        if self.public.horizon is None:
            raise ValueError("horizon: the task has none, so the length of its prompts has no bound")
        k, words = self.public.n_arms, self.prompt.words
        widest = sorted(words, key=lambda word: len(self.encode(word)))[-k:]
        answer = len(self.encode(widest[-1])) if self.prompt.answer == "direct" else self.prompt.max_tokens
        wide = max(99.99, 40 * (self.public.noise_sd or 0.0))
        numbers = (0.0, 1.0) if self.public.reward == "bernoulli" else (-wide, wide)
        if self.prompt.append_only:
            pulled = (widest[-1], None) if self.prompt.answer == "free" else (widest[-1],)  # None may be the longer one
            told = max(sum(map(len, self.step(self.encode(""), name, x))) for name in pulled for x in numbers)
            body = self.public.horizon * (told + (answer if self.turns else 0))
        else:
            body = k * sum(map(len, self._summary(widest[-1], self.public.horizon, -wide)))
        return len(self.head(widest)) + body + len(self.tail()) + answer + 1
