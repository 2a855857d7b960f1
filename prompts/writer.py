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

from icrl.envs.episodes import Episodes
from icrl.envs.types import Bools, Ints, Public, View
from icrl.envs.words import told
from icrl.prompts.chat import Chat
from icrl.prompts.demonstrations import EXAMPLE, LAST, NEXT
from icrl.prompts.hints import lines
from icrl.prompts.history import Summary, Window
from icrl.prompts.instructions import instructions, number, refuses
from icrl.prompts.pieces import Pieces, Tokens
from icrl.prompts.prompt import Prompt
from icrl.prompts.summary import Totals

Seen = tuple[Tokens, ...]
"""What is told before one choice, as pieces; nothing in tasks that show nothing."""


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
        return self.prompt.story.texts

    @cached_property
    def shows(self) -> bool:
        """Whether something is seen before each choice."""
        return bool(self.public.context_dim or self.public.variable)

    @cached_property
    def asks(self) -> bool:
        """Whether a chat's question is written anew at each step, since something is seen or hinted."""
        return self.turns and (self.shows or self.prompt.hints is not None)

    def head(self, names: Sequence[str], shown: Sequence[tuple[Episodes, int]] = ()) -> Tokens:
        """All that stands before the first step.

        Args:
            names: [K] labels.
            shown: Demonstrations: episodes, and which of them.
        """
        before, rest = instructions(self.prompt, self.public)
        lines = [piece for name in names for piece in (name, "\n")][:-1]
        games = [piece for episodes, b in shown for piece in self.game(episodes, b, names)]
        if not games:
            texts = (self.chat.begin + before, *lines, rest + self.chat.opened + self._opening)
            return np.concatenate([self.encode(text) for text in texts])
        head = (self.encode(text) for text in (self.chat.begin + before, *lines, rest + self.chat.opened))
        return np.concatenate([*head, *games, self.encode(self._opening)])

    @property
    def _opening(self) -> str:
        """What stands before the first step of a game."""
        if self.turns:
            return "" if self.shows else self.texts["first"] + ("" if self.asks else self.chat.answer)
        return self.texts["summary" if isinstance(self.prompt.past, Summary) else "log"]

    def game(self, episodes: Episodes, b: int, names: Sequence[str]) -> list[Tokens]:
        """A whole game as it looks in the prompt of another, in the labels of that one."""
        story, t = self.prompt.story, int(episodes.lengths[b])
        arms, rewards = episodes.arms[b, :t], episodes.rewards[b, :t]
        pulled = [names[arm] if arm >= 0 else None for arm in arms.tolist()]
        if isinstance(past := self.prompt.past, Summary):
            totals = Totals.of(arms, rewards, len(names), past.last)
            last = [] if pulled[-1] is None else [self.encode(LAST), self.encode(pulled[-1]), self.encode("\n")]
            return [self.encode(story.told(EXAMPLE)), *self.summaries(names, totals.rows()[0]), *last]
        told = self.seen(episodes.view(np.full(t, b), np.arange(t)), [names] * t)
        *steps, last_step = zip(map(self.said, pulled), pulled, rewards.tolist(), told, strict=True)
        pieces = [piece for step in steps for piece in self.step(*step)]
        pieces += self._step(*last_step, then="\n")  # what follows is the next game, not a question
        if not self.turns:
            return [self.encode(story.told(EXAMPLE)), *pieces]
        return [self.encode(self._opening), *pieces, self.encode(story.told(NEXT))]

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
        return self.encode(before), *self._listed(names, view.legal[r]), self.encode(after)

    def _listed(self, names: Sequence[str], legal: Bools) -> Seen:
        there = [name for name, here in zip(names, legal.tolist(), strict=True) if here]
        return tuple(self.encode(text) for name in there for text in (name, ", "))[:-1]

    def question(self, seen: Seen) -> Seen:
        """What stands in the stem between the step before and the answer, where a chat asks anew each time."""
        if not self.asks:
            return ()
        return *seen, self.encode((self.texts["first"] if self.shows else "") + self.chat.answer)

    def said(self, pulled: str | None, text: str | None = None, ids: Ints | None = None) -> Tokens:
        """A past answer: as it was generated, if that is known, else its text, else the label that was pulled."""
        if ids is not None and (ids >= 0).any():
            return ids[ids >= 0].astype(np.int32)
        return self.encode((pulled or "") if text is None else text)

    def step(self, answer: Tokens, name: str | None, reward: float, seen: Seen = ()) -> tuple[Tokens, ...]:
        """What a step adds to a raw history: in a chat the answer first, then all up to the next answer (or tail).

        Args:
            answer: What the model answered; a log shows only what was pulled.
            name: Label of the arm that was pulled; None where the step was forfeited.
            reward: Of that pull.
            seen: What was told before, in tasks that show something; it then stands before the answer.
        """
        return self._step(answer, name, reward, seen, "\n" if self.shows else "" if self.asks else self.chat.answer)

    def _step(self, answer: Tokens, name: str | None, reward: float, seen: Seen, then: str) -> tuple[Tokens, ...]:
        """A step, and in a chat what follows its reward."""
        texts, chat = self.texts, self.chat
        if not self.turns:
            return *seen, *((self.encode(texts["lost"]),) if name is None else self._told(texts["line"], name, reward))
        if name is None:
            return *self.question(seen), answer, self.encode(chat.after + texts["forfeit"] + then)
        return *self.question(seen), answer, *self._told(chat.after + texts["feedback"] + then, name, reward)

    def _told(self, template: str, name: str, reward: float | None = None) -> tuple[Tokens, ...]:
        """A text around a label; the label is a piece of its own, so that it is the same tokens everywhere."""
        if reward is not None:
            template = template.replace("{reward}", self.reward(reward))
        before, label, after = template.partition("{label}")
        return self.encode(before), self.encode(name if label else ""), self.encode(after)

    def reward(self, value: float) -> str:
        """A reward as text."""
        if self.prompt.past.rewards == "words":
            return "yes" if value else "no"
        return number(value, self.public, self.prompt.past.decimals)

    def summaries(self, names: Sequence[str], known: Sequence[Sequence[Any]]) -> tuple[Tokens, ...]:
        """The lines of all arms in a summary; `known` are those of `icrl.prompts.summary.Totals.rows`."""
        lines = (self._summary(name, *arm) for name, arm in zip(names, known, strict=True))
        return tuple(piece for line in lines for piece in line)

    def _summary(self, name: str, pulls: int, mean: float, spread: float, last: Sequence[float]) -> tuple[Tokens, ...]:
        if not pulls:
            return self._told(self.texts["untried"], name)
        history = self.prompt.past
        assert isinstance(history, Summary)
        digits = 2 if history.decimals is None else history.decimals
        text = f"{mean:z.{digits}f}"
        if history.spread:
            text += f", spread {spread:z.{digits}f}"
        if history.last:
            text += f", last {' '.join(map(self.reward, last))}"
        return self._told(self.texts["tried"].replace("{pulls}", str(pulls)).replace("{mean}", text), name)

    def tail(self, seen: Seen = (), hint: Sequence[str] = ()) -> Tokens:
        """What follows the stem for the time of one answer only.

        Args:
            seen: What is told before this choice.
            hint: Lines of `icrl.prompts.hints.lines`.
        """
        told = [self.encode(text) for text in hint]
        if not self.turns:
            return np.concatenate([*seen, *told, self.encode(self.texts["query"] + self.chat.answer)])
        if not hint:
            return np.concatenate([*self.question(seen), self.encode("")])
        if self.shows:
            return np.concatenate([*seen, *told, self.encode(self.texts["first"] + self.chat.answer)])
        told[-1] = self.encode(hint[-1].removesuffix("\n"))
        return np.concatenate([self.encode("\n"), *told, self.encode(self.chat.answer)])

    @cached_property
    def end(self) -> int:
        """The token that ends an answer."""
        return int(self.encode(self.chat.after)[0])

    def choices(self, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Token ids of each label as an answer, with what ends an answer."""
        return tuple((*self.encode(name).tolist(), self.end) for name in names)

    def longest(self) -> int:
        """An upper bound of the tokens of a prompt at the last step, whatever is drawn.

        Gaussian rewards have no bound; they are taken to lie within 99.99, or 40 standard deviations of the noise, and
        contexts within 99.99. Observations of worlds that speak may be longer.

        Raises:
            ValueError: The task has no horizon, and the history no other end, so there is no bound.
        """
        history, public = self.prompt.past, self.public
        steps = public.horizon
        if isinstance(history, Window):
            steps = history.first + history.last if steps is None else min(steps, history.first + history.last)
        if steps is None:
            raise ValueError("horizon: the task has none, so the length of its prompts has no bound")
        k, words = public.n_arms, self.prompt.words
        widest = sorted(words, key=lambda word: len(self.encode(word)))[-k:]
        answer = len(self.encode(widest[-1])) if self.prompt.answer == "direct" else self.prompt.limit(k)
        wide = max(99.99, 40 * (public.noise_sd or 0.0))
        pays = (0.0, 1.0) if public.reward == "bernoulli" else (-wide, wide)
        seen = self._longest_seen(widest)
        if isinstance(history, Summary):
            worst = min(pays, key=lambda x: -len(self.reward(x)))
            last = [worst] * min(history.last, steps)
            tried = self._summary(widest[-1], max(steps, 1), -wide, wide, last)
            body = k * max(sum(map(len, line)) for line in (tried, self._summary(widest[-1], 0, 0.0, 0.0, [])))
        else:
            pulled = (
                (widest[-1], None) if self.prompt.answer != "direct" else (widest[-1],)
            )  # None may be the longer one
            told = max(sum(map(len, self.step(self.encode(""), name, x, seen))) for name in pulled for x in pays)
            body = steps * (told + (answer if self.turns else 0))
        hint: list[str] = []
        if (notes := self.prompt.notes) is not None:
            numbers = {name: [-wide] * k for name in ("value", "bonus", "best", "low", "high")}
            hint = lines(notes, self.prompt.story, widest, range(k), numbers, k - 1)
        return len(self.head(widest)) + self._longest_games(widest) + body + len(self.tail(seen, hint)) + answer + 1

    def _longest_games(self, names: Sequence[str]) -> int:
        """Most tokens of the demonstrations, in labels all as long as the longest of `names`."""
        if (shown := self.prompt.games) is None:
            return 0
        widest = [names[-1]] * len(names)
        pool = (self.game(part, b, widest) for part in shown.parts for b in range(len(part)))
        return shown.count * max(sum(map(len, pieces)) for pieces in pool)

    def _longest_seen(self, names: Sequence[str]) -> Seen:
        public = self.public
        k, d = public.n_arms, public.context_dim
        context = np.full((1, k, d) if public.per_arm else (1, d), -99.99) if d else None
        zero = np.zeros(1, np.int64)
        return self.seen(View(zero, zero, zero, np.ones((1, k), np.bool_), context), [names])[0]
