"""From a history to token ids, piece by piece: the one text for playing and for training.

A `Writer` concatenates token pieces: constants, labels and reward texts recur, so a step costs a few look-ups. It
knows no model and draws no randomness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from icrl.envs.types import Ints, Public, View
from icrl.prompts.chat import Chat
from icrl.prompts.demonstrations import NEXT, OWN
from icrl.prompts.history import Summary
from icrl.prompts.instructions import instructions, number, refuses
from icrl.prompts.pieces import Pieces, Tokens
from icrl.prompts.prompt import Prompt
from icrl.prompts.scenario import AND, listed
from icrl.prompts.seen import seen
from icrl.prompts.summary import line

Seen = tuple[Tokens, ...]
"""What is told before one choice, as pieces; nothing in tasks that show nothing."""
Pulled = tuple[str, ...]
"""The labels that one choice named."""


def pulled(names: Sequence[str], arms: Sequence[int]) -> Pulled | None:
    """Labels of the arms of one choice; None where none was chosen."""
    return None if min(arms) < 0 else tuple(names[arm] for arm in arms)


@dataclass(frozen=True, eq=False)  # itself and no other, so that its bounds can be cached
class Writer:
    """Writes one prompt's texts as tokens of one tokenizer.

    Raises:
        ValueError: The layout is `turns`, but the model has no chat template; or the task cannot be told this way.
    """

    prompt: Prompt
    public: Public
    encode: Pieces
    chat: Chat

    def __post_init__(self) -> None:
        if why := refuses(self.public):
            raise ValueError(why)
        self.prompt.check(self.public)
        if self.prompt.layout == "turns" and not self.chat.template:
            raise ValueError("layout: 'turns' needs a model with a chat template; use layout='log' with this one")

    @cached_property
    def turns(self) -> bool:
        """Whether past answers are turns of their own."""
        return self.prompt.turns

    @cached_property
    def texts(self) -> dict[str, str]:
        """The scenario's."""
        texts = self.prompt.story.texts
        return texts | {"first": texts["pair"], "query": texts["pair"]} if self.public.slots > 1 else texts

    @cached_property
    def shows(self) -> bool:
        """Whether something is seen before each choice."""
        return bool(self.public.context_dim or self.public.variable)

    @cached_property
    def keeps(self) -> bool:
        """Whether thoughts stay in the history."""
        return self.prompt.thoughts == "kept"

    @cached_property
    def asks(self) -> bool:
        """Whether a chat's question is written anew at each step: something is seen or hinted, or thoughts go away."""
        return self.turns and (self.shows or self.prompt.hints is not None or (self.prompt.thinks and not self.keeps))

    @cached_property
    def opens(self) -> str:
        """What stands before an answer that the model is to write now."""
        return self.chat.thinking[0] if self.prompt.thinks else self.chat.answer

    @cached_property
    def opened(self) -> str:
        """What stands before an answer of the past."""
        if self.keeps:
            return self.opens
        return self.chat.past if self.prompt.thinks and self.chat.channel else self.chat.answer

    def head(self, names: Sequence[str], games: Sequence[Sequence[Tokens]] = ()) -> Tokens:
        """All that stands before the first step.

        Args:
            names: [K] labels.
            games: Demonstrations, of `icrl.prompts.games`.
        """
        before, rest = instructions(self.prompt, self.public, len(games), self.chat.channel)
        lines = [piece for name in names for piece in (name, "\n")][:-1]
        if not games:
            texts = (self.chat.begin + before, *lines, rest + self.chat.opened + self.opening)
            return np.concatenate([self.encode(text) for text in texts])
        head = (self.encode(text) for text in (self.chat.begin + before, *lines, rest + self.chat.opened))
        ends = [NEXT] * (len(games) - 1) + [OWN] if self.turns else [""] * len(games)
        shown = (piece for game, end in zip(games, ends, strict=True) for piece in (*game, self.encode(end)))
        return np.concatenate([*head, *shown, self.encode(self.opening)])

    @property
    def opening(self) -> str:
        """What stands before the first step of a game."""
        if self.turns:
            return "" if self.shows else self.texts["first"] + ("" if self.asks else self.opened)
        return self.texts["summary" if isinstance(self.prompt.past, Summary) else "log"]

    def seen(self, view: View, names: Sequence[Sequence[str]]) -> list[Seen]:
        """What each row is told before its choice: contexts in words, and which arms are there."""
        if not self.shows:
            return [()] * len(view.t)
        text, variable = self.texts["seen"], self.public.variable
        rows = (seen(text, view, row, own, variable) for row, own in enumerate(names))
        return [tuple(map(self.encode.once, texts)) for texts in rows]

    def label(self, names: Sequence[str]) -> tuple[Tokens, ...]:
        """Labels in one line; each is a piece of its own, so that it is the same tokens everywhere."""
        return tuple(map(self.encode, listed(names)))

    def question(self, seen: Seen) -> Seen:
        """What stands in the stem between the step before and the answer, where a chat asks anew each time."""
        if not self.asks:
            return ()
        return *seen, self.encode((self.texts["first"] if self.shows else "") + self.opened)

    def said(self, chosen: Pulled | None, text: str | None = None, ids: Ints | None = None) -> Tokens:
        """A past answer: as it was generated, if that is known, else its text, else the labels that were pulled."""
        own: tuple[Tokens, ...] = self.label(chosen or ())
        if ids is not None and (ids >= 0).any() and self._is_own(ids[ids >= 0], text):
            own = (ids[ids >= 0].astype(np.int32),)
            if self.keeps:  # they hold the thought, too
                return own[0]
        elif text is not None and (chosen is None or text != AND.join(chosen)):
            own = (self.encode(text),)
        return np.concatenate([self.unthought, *own])

    def _is_own(self, ids: Ints, text: str | None) -> bool:
        """Whether tokens are those of this tokenizer: in a hybrid of two models, the other may have written them."""
        return text is None or text in self.encode.tokenizer.decode(ids.tolist())

    @cached_property
    def unthought(self) -> Tokens:
        """What stands before a past answer whose thought is not there, as it stood before the answer when it was given.

        The model's own channel is closed and gone, as its template shows it.
        """
        gone = not self.prompt.thinks or (self.chat.channel and not self.keeps)
        return self.encode("") if gone else self.closing("")

    def closing(self, thought: str) -> Tokens:
        """What stands between a thought and the answer."""
        text = self.chat.thinking[1]
        broken = thought.endswith("\n") or not (thought or self.chat.channel)
        return self.encode(text.removeprefix("\n") if broken else text)

    def step(
        self, answer: Tokens, chosen: Pulled | None, reward: float, seen: Seen = (), over: bool = False
    ) -> tuple[Tokens, ...]:
        """What a step adds to a raw history: in a chat the answer first, then all up to the next answer (or tail).

        Args:
            answer: What the model answered; a log shows only what was pulled.
            chosen: Labels of the arms that were pulled; None where the step was forfeited.
            reward: Of that pull.
            seen: What was told before, in tasks that show something; it then stands before the answer.
            over: Whether another game follows.
        """
        if over:
            after = (NEXT, self.opening) if self.turns else (NEXT,)
            return *self._step(answer, chosen, reward, seen, "\n"), *map(self.encode, after)
        return self._step(answer, chosen, reward, seen, "\n" if self.shows else "" if self.asks else self.opened)

    def last(self, answer: Tokens, chosen: Pulled | None, reward: float, seen: Seen = ()) -> tuple[Tokens, ...]:
        """The step with which an episode ends: in a chat, no question follows it."""
        return self._step(answer, chosen, reward, seen, "\n")

    def _step(self, answer: Tokens, chosen: Pulled | None, reward: float, seen: Seen, then: str) -> tuple[Tokens, ...]:
        """A step, and in a chat what follows its reward."""
        texts, chat = self.texts, self.chat
        if not self.turns:
            lost = (self.encode(texts["lost"]),)
            return *seen, *(lost if chosen is None else self.told(texts["line"], chosen, reward))
        if chosen is None:
            return *self.question(seen), answer, self.encode(chat.after + texts["forfeit"] + then)
        return *self.question(seen), answer, *self.told(chat.after + texts["feedback"] + then, chosen, reward)

    def told(self, template: str, chosen: Pulled, reward: float | None = None) -> tuple[Tokens, ...]:
        """A text around labels."""
        if reward is not None:
            template = template.replace("{reward}", self.reward(reward))
        before, label, after = template.partition("{label}")
        return self.encode(before), *self.label(chosen if label else ()), self.encode(after)

    def reward(self, value: float) -> str:
        """A reward as text."""
        if self.prompt.past.rewards == "words":
            return "yes" if value else "no"
        return number(value, self.public, self.prompt.past.decimals)

    def summaries(self, names: Sequence[str], known: Sequence[Sequence[Any]]) -> tuple[Tokens, ...]:
        """The lines of some arms in a summary; `known` are those of `icrl.prompts.summary.Totals.rows`."""
        history = self.prompt.past
        assert isinstance(history, Summary)
        texts = (line(self.texts, history, self.reward, *arm) for arm in known)
        lines = (self.told(text, (name,)) for text, name in zip(texts, names, strict=True))
        return tuple(piece for arm in lines for piece in arm)

    def tail(self, seen: Seen = (), hint: Sequence[str] = ()) -> Tokens:
        """What follows the stem for the time of one answer only.

        Args:
            seen: What is told before this choice.
            hint: Lines of `icrl.prompts.hints.lines`.
        """
        told = [self.encode(text) for text in hint]
        if not self.turns:
            return np.concatenate([*seen, *told, self.encode(self.texts["query"] + self.opens)])
        if not self.asks:
            return self.encode("")
        if self.shows or not hint:
            first = self.texts["first"] if self.shows else ""
            return np.concatenate([*seen, *told, self.encode(first + self.opens)])
        told[-1] = self.encode(hint[-1].removesuffix("\n"))
        return np.concatenate([self.encode("\n"), *told, self.encode(self.opens)])

    @cached_property
    def end(self) -> int:
        """The token that ends an answer."""
        ids = self.encode(self.chat.after)
        if not len(ids):
            raise ValueError(f"tokenizer: it has no token for what ends an answer, {self.chat.after!r}")
        return int(ids[0])

    @cached_property
    def thought_limit(self) -> int:
        """Most tokens of a thought and of what closes it."""
        if not self.prompt.thinks:
            return 0
        closing = self.chat.thinking[1]
        return self.prompt.max_thought + max(len(self.encode(text)) for text in (closing, closing.removeprefix("\n")))

    @cached_property
    def answer_limit(self) -> int:
        """Most tokens of an answer, without its thought and what ends it."""
        if not self.prompt.scored:
            return self.prompt.limit(self.public)
        widest = max(self.prompt.words, key=lambda word: len(self.encode(word)))
        return sum(map(len, self.label((widest,) * self.public.slots)))

    def choices(self, names: Sequence[str]) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """Of each slot, the token ids of each label as an answer, with the first one of what follows it."""
        ends = [int(self.encode(AND)[0])] * (self.public.slots - 1) + [self.end]
        return tuple(tuple((*self.encode(name).tolist(), end) for name in names) for end in ends)
