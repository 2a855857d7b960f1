"""Conversations as they grow: what each row's model is to read now, and what it has read before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from icrl.envs.types import Bools, Choice, Ints, Names, Outcome, View
from icrl.prompts.advice import Advised, Deal, as_it_is
from icrl.prompts.budget import fitting, left
from icrl.prompts.chosen import Chosen
from icrl.prompts.games import game
from icrl.prompts.growing import Growing
from icrl.prompts.history import Summary
from icrl.prompts.pieces import Tokens
from icrl.prompts.summary import Totals
from icrl.prompts.writer import Writer, pulled


@dataclass(frozen=True)
class Talk:
    """R conversations; arrays are advanced in place."""

    writer: Writer
    names: Names
    choices: tuple[tuple[tuple[tuple[int, ...], ...], ...], ...]
    """Of each row and slot, the tokens of each label as an answer."""
    seed: int
    past: Growing | Chosen
    """The heads, and what is shown of the steps."""
    totals: Totals
    """Of a summary."""
    missing: Ints
    """[R] demonstrations that a budget has no room for."""
    advised: Advised | None
    """The adviser behind the hints."""

    @classmethod
    def begin(cls, writer: Writer, names: Names, episodes: Ints, seed: int, deal: Deal = as_it_is) -> Self:
        """Conversations that hold the instructions only, and the demonstrations.

        Args:
            writer: Writes the prompts.
            names: Labels of each episode.
            episodes: [B] their indices.
            seed: Of the run.
            deal: See `icrl.prompts.advice.Deal`.
        """
        prompt, public = writer.prompt, writer.public
        games = _games(writer, names, episodes, seed)
        shown = [fitting(writer, *row) for row in zip(names, games, strict=True)]
        missing = np.array([len(every) - len(some) for every, some in zip(games, shown, strict=True)])
        past = _past(writer, list(map(writer.head, names, shown)), seed)
        totals = Totals.none(len(names), public.n_arms, prompt.past.last if isinstance(prompt.past, Summary) else 0)
        notes, advised = prompt.notes, None
        if notes is not None:
            advised = Advised.begin(notes, prompt.story, public, names, episodes, seed, deal)
        return cls(writer, names, tuple(map(writer.choices, names)), seed, past, totals, missing, advised)

    @property
    def dropped(self) -> Ints:
        """[R, 2] demonstrations and steps that the prompt of the moment leaves out, to keep its budget."""
        return np.stack([self.missing, self.past.dropped], axis=1)

    def asked(self, view: View) -> tuple[Self, list[Tokens]]:
        """What each row's model is to read: its stem and tail. Of an append-only history that is a view of a buffer."""
        hints: Sequence[Sequence[str]] = [[]] * len(view.t)
        advised = self.advised
        if advised is not None:
            advised, hints = advised.hinted(view, self.names)
        tails = list(map(self.writer.tail, self.writer.seen(view, self.names), hints))
        if isinstance(self.writer.prompt.past, Summary):
            told = map(self.writer.summaries, self.names, self.totals.rows())
            tails = [np.concatenate([*lines, tail]) for lines, tail in zip(told, tails, strict=True)]
        past, prompts = self.past.asked(view.episode, tails)
        return replace(self, past=past, advised=advised), prompts

    def answered(self, view: View, choice: Choice, outcome: Outcome) -> Self:
        """Appends what was seen, the answer and the reward, and counts them for a summary and for the adviser."""
        writer, state, over = self.writer, self, self.writer.public.ends_game(int(view.t[0]))
        if self.advised is not None:
            state = replace(state, advised=self.advised.updated(view, choice.arm, outcome))
        if isinstance(writer.prompt.past, Summary):
            self.totals.add(choice.arm[:, 0], outcome.reward)
            return replace(state, totals=self.totals.cleared()) if over else state
        chosen, none = list(map(pulled, self.names, choice.arm.tolist())), [None] * len(view.t)
        said = map(writer.said, chosen, choice.text or none, none if choice.ids is None else choice.ids)
        steps = zip(said, chosen, outcome.reward.tolist(), writer.seen(view, self.names), strict=True)
        pieces = [writer.step(*step, over) for step in steps]
        return replace(state, past=self.past.answered(view.episode, pieces, outcome.reward))

    def take(self, rows: Bools) -> Self:
        """Keeps the rows of episodes that go on."""
        kept = np.flatnonzero(rows).tolist()
        return replace(
            self,
            names=tuple(self.names[r] for r in kept),
            choices=tuple(self.choices[r] for r in kept),
            past=self.past.take(rows),
            totals=self.totals.take(rows),
            missing=self.missing[rows],
            advised=None if self.advised is None else self.advised.take(rows),
        )


def _past(writer: Writer, heads: Sequence[Tokens], seed: int) -> Growing | Chosen:
    """No steps yet, behind these heads."""
    history, room = writer.prompt.past, left(writer, heads)
    if history.append_only or isinstance(history, Summary):
        return Growing.begin(history, heads, room)
    return Chosen.begin(history, heads, room, seed, writer.public.game)


def _games(writer: Writer, names: Names, episodes: Ints, seed: int) -> list[list[list[Tokens]]]:
    """The demonstrations that stand before each game."""
    if (shown := writer.prompt.games) is None:
        return [[]] * len(names)
    picked = zip(names, shown.picked(writer.public, episodes, seed), strict=True)
    return [[game(writer, part, b, row) for part, b in games] for row, games in picked]
