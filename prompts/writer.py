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
from icrl.envs.words import told
from icrl.prompts.chat import Chat
from icrl.prompts.demonstrations import NEXT
from icrl.prompts.history import Summary
from icrl.prompts.instructions import instructions, number, refuses
from icrl.prompts.pieces import Pieces, Tokens
from icrl.prompts.prompt import Prompt
from icrl.prompts.scenario import SEPARATOR

Seen = tuple[Tokens, ...]
"""What is told before one choice, as pieces; nothing in tasks that show nothing."""
Pulled = tuple[str, ...]
"""The labels that one choice named."""
AND = f"{SEPARATOR} "


def pulled(names: Sequence[str], arms: Sequence[int]) -> Pulled | None:
    """Labels of the arms of one choice; None where none was chosen."""
    return None if min(arms) < 0 else tuple(names[arm] for arm in arms)


@dataclass(frozen=True)
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
        return self.opens if self.keeps else self.chat.answer

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
        return np.concatenate([*head, *(piece for game in games for piece in game), self.encode(self.opening)])

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
        return [(*self._context(view, r, row), *self._present(view, r, row)) for r, row in enumerate(names)]

    def _context(self, view: View, r: int, names: Sequence[str]) -> Seen:
        """A row's context in words; the features of several arms in lines of their own."""
        before, after = self.texts["seen"].split("{seen}")
        if view.obs is None and view.context is not None and view.context.ndim == 3:
            features = zip(names, told(view.context[r]), strict=True)
            lines = (piece for name, text in features for piece in (self.encode(name), self.encode.once(f": {text}\n")))
            return self.encode(before.rstrip(" ") + "\n"), *lines
        said = (
            view.obs[r] if view.obs is not None else None if view.context is None else told(view.context[r : r + 1])[0]
        )
        return () if said is None else (self.encode.once(before + said + after),)

    def _present(self, view: View, r: int, names: Sequence[str]) -> Seen:
        """The labels of the arms that are there, where some may be missing."""
        if not self.public.variable:
            return ()
        before, after = self.texts["seen"].split("{seen}")
        there = [name for name, here in zip(names, view.legal[r].tolist(), strict=True) if here]
        return self.encode(before), *self.label(there), self.encode(after)

    def label(self, names: Sequence[str]) -> tuple[Tokens, ...]:
        """Labels in one line; each is a piece of its own, so that it is the same tokens everywhere."""
        return tuple(self.encode(text) for name in names for text in (name, AND))[:-1]

    def question(self, seen: Seen) -> Seen:
        """What stands in the stem between the step before and the answer, where a chat asks anew each time."""
        if not self.asks:
            return ()
        return *seen, self.encode((self.texts["first"] if self.shows else "") + self.opened)

    def said(self, chosen: Pulled | None, text: str | None = None, ids: Ints | None = None) -> Tokens:
        """A past answer: as it was generated, if that is known, else its text, else the labels that were pulled."""
        if ids is not None and (ids >= 0).any():
            return ids[ids >= 0].astype(np.int32)
        if text is None or (chosen is not None and text == AND.join(chosen)):
            label = self.label(chosen or ())
        else:
            label = (self.encode(text),)
        return np.concatenate([self.closing("") if self.keeps else self.encode(""), *label])

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
            return *seen, *(lost if chosen is None else self._told(texts["line"], chosen, reward))
        if chosen is None:
            return *self.question(seen), answer, self.encode(chat.after + texts["forfeit"] + then)
        return *self.question(seen), answer, *self._told(chat.after + texts["feedback"] + then, chosen, reward)

    def _told(self, template: str, chosen: Pulled, reward: float | None = None) -> tuple[Tokens, ...]:
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
        """The lines of all arms in a summary; `known` are those of `icrl.prompts.summary.Totals.rows`."""
        lines = (self.summary(name, *arm) for name, arm in zip(names, known, strict=True))
        return tuple(piece for line in lines for piece in line)

    def summary(self, name: str, pulls: int, mean: float, spread: float, last: Sequence[float]) -> tuple[Tokens, ...]:
        """One arm's line."""
        if not pulls:
            return self._told(self.texts["untried"], (name,))
        history = self.prompt.past
        assert isinstance(history, Summary)
        digits = 2 if history.decimals is None else history.decimals
        text = f"{mean:z.{digits}f}"
        if history.spread:
            text += f", spread {spread:z.{digits}f}"
        if history.last:
            text += f", last {' '.join(map(self.reward, last))}"
        return self._told(self.texts["tried"].replace("{pulls}", str(pulls)).replace("{mean}", text), (name,))

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
    def thought(self) -> int:
        """Most tokens of a thought and of what closes it."""
        return self.prompt.max_thought + len(self.encode(self.chat.thinking[1])) if self.prompt.thinks else 0

    @cached_property
    def answer(self) -> int:
        """Most tokens of an answer, without its thought and what ends it."""
        if not self.prompt.scored:
            return self.prompt.limit(self.public)
        widest = max(self.prompt.words, key=lambda word: len(self.encode(word)))
        return sum(map(len, self.label((widest,) * self.public.slots)))

    def choices(self, names: Sequence[str]) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """Of each slot, the token ids of each label as an answer, with the first one of what follows it."""
        ends = [int(self.encode(AND)[0])] * (self.public.slots - 1) + [self.end]
        return tuple(tuple((*self.encode(name).tolist(), end) for name in names) for end in ends)
