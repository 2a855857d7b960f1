"""Conversations as they grow: what each row's model is to read now, and what it has read before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, View
from icrl.prompts.bounds import bounds
from icrl.prompts.budget import advanced, fitting, trimmed
from icrl.prompts.games import game
from icrl.prompts.hints import controlled, lines
from icrl.prompts.history import Raw, Summary
from icrl.prompts.pieces import Tokens
from icrl.prompts.summary import Totals
from icrl.prompts.writer import Writer, pulled

Deal = Callable[[Any, Any, View, int, int], Any]
"""Gives an adviser's state what it draws from at this moment: (adviser, state, view, seed, use) to the state."""


def as_it_is(_adviser: Any, state: Any, _view: View, _seed: int, _use: int) -> Any:
    """Of advisers that draw nothing."""
    return state


@dataclass(frozen=True)
class Talk:
    """R conversations; arrays are advanced in place."""

    writer: Writer
    names: Names
    choices: tuple[tuple[tuple[tuple[int, ...], ...], ...], ...]
    """Of each row and slot, the tokens of each label as an answer."""
    seed: int
    ids: Tokens
    """[R, room] the head and all steps of each row, and behind them the tail of the moment."""
    stem: Ints
    """[R] length of the head and all steps."""
    marks: Ints
    """[R, 1 + t] where each step begins, and the last one ends; only the first of a history that shows all."""
    rewards: Floats
    """[R, t] of a history that shows some steps."""
    room: Ints
    """[R] tokens that a budget leaves for steps."""
    cut: Ints
    """[R] the first step that an append-only history still shows."""
    dropped: Ints
    """[R, 2] demonstrations and steps that the prompt of the moment leaves out, to keep its budget."""
    totals: Totals
    """Of a summary."""
    advice: Any = None
    """The state of the adviser behind the hints."""
    deal: Deal = as_it_is

    @classmethod
    def begin(cls, writer: Writer, names: Names, episodes: Ints, seed: int, deal: Deal = as_it_is) -> Self:
        """Conversations that hold the instructions only, and the demonstrations.

        Args:
            writer: Writes the prompts.
            names: Labels of each episode.
            episodes: [B] their indices.
            seed: Of the run.
            deal: See `Deal`.
        """
        prompt, public = writer.prompt, writer.public
        games = _games(writer, names, episodes, seed)
        known = None if prompt.budget is None else bounds(writer)
        shown = games if known is None else [fitting(writer, known, *row) for row in zip(names, games, strict=True)]
        heads = list(map(writer.head, names, shown))
        head = np.array([len(h) for h in heads])
        room = np.zeros_like(head) if known is None else prompt.budget - head - known.tail - known.answer
        dropped = np.array([(len(all_of), 0) for all_of in games]) - [(len(row), 0) for row in shown]
        ids = np.zeros((len(heads), 2 * int(head.max())), np.int32)
        for row, tokens in enumerate(heads):
            ids[row, : len(tokens)] = tokens
        last = prompt.past.last if isinstance(prompt.past, Summary) else 0
        totals = Totals.none(len(heads), public.n_arms, last)
        advice = None if prompt.notes is None else prompt.notes.adviser.start(public, names, episodes, seed)
        choices, past = tuple(map(writer.choices, names)), np.zeros((len(heads), 0))
        marks, cut = head[:, None], np.zeros_like(head)
        return cls(writer, names, choices, seed, ids, head, marks, past, room, cut, dropped, totals, advice, deal)

    def asked(self, view: View) -> tuple[Self, list[Tokens]]:
        """What each row's model is to read: its stem and tail. Of a raw history that is a view of the buffer."""
        state, hints = self._hinted(view)
        tails = list(map(self.writer.tail, self.writer.seen(view, self.names), hints))
        if self._shows_all:
            longer = state._appended([(tail,) for tail in tails])
            return replace(longer, stem=state.stem), [longer.ids[row, :end] for row, end in enumerate(longer.stem)]
        heads = [self.ids[row, :end] for row, end in enumerate(self.marks[:, 0])]
        if isinstance(self.writer.prompt.past, Summary):
            told = map(self.writer.summaries, self.names, self.totals.rows())
            return state, [np.concatenate([h, *body, tail]) for h, body, tail in zip(heads, told, tails, strict=True)]
        prompts, (shown, fits) = [], self._kept(view.episode)
        for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
            steps = self.ids[row, self.marks[row, 0] : self.stem[row]]
            prompts.append(np.concatenate([head, steps[np.repeat(fits[row], np.diff(self.marks[row]))], tail]))
        dropped = np.stack([self.dropped[:, 0], (shown & ~fits).sum(axis=1)], axis=1)
        return replace(state, dropped=dropped), prompts

    def answered(self, view: View, choice: Choice, outcome: Outcome) -> Self:
        """Appends what was seen, the answer and the reward, and counts them for a summary and for the adviser."""
        writer, state = self.writer, self
        if (notes := writer.prompt.notes) is not None:
            advice = self.deal(notes.adviser, self.advice, view, self.seed, 1)
            state = replace(state, advice=notes.adviser.update(advice, view, Choice(choice.arm), outcome))
        over = writer.public.ends_game(int(view.t[0]))
        if isinstance(writer.prompt.past, Summary):
            self.totals.add(choice.arm[:, 0], outcome.reward)
            return replace(state, totals=self.totals.cleared()) if over else state
        chosen, none = list(map(pulled, self.names, choice.arm.tolist())), [None] * len(view.t)
        said = map(writer.said, chosen, choice.text or none, none if choice.ids is None else choice.ids)
        steps = zip(said, chosen, outcome.reward.tolist(), writer.seen(view, self.names), strict=True)
        state = state._appended([writer.step(*step, over) for step in steps])
        if self._shows_all:
            return state
        rewards = np.concatenate([self.rewards, outcome.reward[:, None]], axis=1)
        marks = np.concatenate([self.marks, state.stem[:, None]], axis=1)
        return replace(state, rewards=rewards, marks=marks)._fitted(view.episode)

    @property
    def _shows_all(self) -> bool:
        """Whether no step is ever left out."""
        return isinstance(self.writer.prompt.past, Raw) and self.writer.prompt.budget is None

    def _shown(self, episode: Ints) -> Bools:
        """[R, t] the steps that the history keeps."""
        prompt, t = self.writer.prompt, self.rewards.shape[1]
        length = self.writer.public.game
        game = np.zeros(t + 1, np.int64) if length is None else np.arange(t + 1) // length
        return prompt.past.keeps(self.seed, episode, self.rewards, game)

    def _fitted(self, episode: Ints) -> Self:
        """Moves on what is cut from an append-only history. It depends on the past only, so that it can be folded."""
        if self.writer.prompt.budget is None or not self.writer.prompt.past.append_only:
            return self
        sizes = np.where(self._shown(episode), np.diff(self.marks, axis=1), 0)
        rows = zip(self.cut.tolist(), sizes, self.room.tolist(), strict=True)
        return replace(self, cut=np.array([advanced(*row) for row in rows]))

    def _kept(self, episode: Ints) -> tuple[Bools, Bools]:
        """[R, t] the steps that the history keeps, and those of them that fit into the budget."""
        shown, history = self._shown(episode), self.writer.prompt.past
        if self.writer.prompt.budget is None:
            return shown, shown
        if history.append_only:
            return shown, shown & (np.arange(shown.shape[1]) >= self.cut[:, None])
        rows = zip(shown, np.diff(self.marks, axis=1), self.room.tolist(), strict=True)
        return shown, np.stack([trimmed(*row, history.spares) for row in rows])

    def take(self, rows: Bools) -> Self:
        """Keeps the rows of episodes that go on."""
        arrays = {k: getattr(self, k)[rows] for k in ("ids", "stem", "marks", "rewards", "room", "cut", "dropped")}
        kept = np.flatnonzero(rows).tolist()
        names, choices = tuple(self.names[r] for r in kept), tuple(self.choices[r] for r in kept)
        notes = self.writer.prompt.notes
        advice = None if notes is None else notes.adviser.take(self.advice, rows)
        return replace(self, names=names, choices=choices, totals=self.totals.take(rows), advice=advice, **arrays)

    def _hinted(self, view: View) -> tuple[Self, list[list[str]]]:
        """What the adviser says to each row."""
        prompt = self.writer.prompt
        if (notes := prompt.notes) is None:
            return self, [[]] * len(view.t)
        advice, choice = notes.adviser.act(self.deal(notes.adviser, self.advice, view, self.seed, 0), view)
        numbers, arms = controlled(notes, notes.adviser.advise(advice, view), choice.arm, view, self.seed)
        rows = []
        for row, (names, arm) in enumerate(zip(self.names, arms.tolist(), strict=True)):
            there = np.flatnonzero(view.legal[row]).tolist()
            own = {name: cells[row].tolist() for name, cells in numbers.items()}
            rows.append(lines(notes, prompt.story, names, there, own, arm))
        return replace(self, advice=advice), rows

    def _appended(self, pieces: list[tuple[Tokens, ...]]) -> Self:
        """Each row's stem, longer by its pieces."""
        added = np.array([sum(map(len, row)) for row in pieces])
        need = int((self.stem + added).max())
        ids = self.ids
        if need > ids.shape[1]:
            ids = np.pad(ids, ((0, 0), (0, 2 * need - ids.shape[1])))
        for row, (start, parts) in enumerate(zip(self.stem.tolist(), pieces, strict=True)):
            for part in parts:
                ids[row, start : start + len(part)] = part
                start += len(part)
        return replace(self, ids=ids, stem=self.stem + added)


def _games(writer: Writer, names: Names, episodes: Ints, seed: int) -> list[list[list[Tokens]]]:
    """The demonstrations that stand before each game."""
    if (shown := writer.prompt.games) is None:
        return [[]] * len(names)
    picked = zip(names, shown.picked(writer.public, episodes, seed), strict=True)
    return [[game(writer, part, b, row) for part, b in games] for row, games in picked]
