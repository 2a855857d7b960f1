"""`LLMAgent`: a language model, a prompt and a temperature.

The state is what the prompts need: the tokens of each row's steps, which only grow, where each step begins, and the
counts that a summary shows. The model itself is stateless; its cache finds what it has read before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from icrl.agents.catalogue import able
from icrl.agents.classical import dealt
from icrl.agents.dice import any_of
from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View
from icrl.models.base import Answer, Choices, Model, Query
from icrl.prompts.chat import Chat
from icrl.prompts.hints import controlled, lines
from icrl.prompts.history import Raw, Summary
from icrl.prompts.instructions import RULES
from icrl.prompts.parse import parse
from icrl.prompts.pieces import Pieces, Tokens
from icrl.prompts.prompt import Prompt
from icrl.prompts.summary import Totals
from icrl.prompts.writer import Writer


@dataclass(frozen=True)
class Talk:
    """R conversations; arrays are advanced in place."""

    writer: Writer
    names: Names
    choices: tuple[Choices, ...]
    seed: int
    ids: Tokens
    """[R, room] the head and all steps of each row, and behind them the tail of the moment."""
    stem: Ints
    """[R] length of the head and all steps."""
    marks: Ints
    """[R, 1 + t] where each step begins, and the last one ends."""
    rewards: Floats
    """[R, t]"""
    totals: Totals
    advice: Any = None
    """The state of the adviser behind the hints."""


@dataclass(frozen=True)
class LLMAgent:
    """A language model that plays.

    Args:
        model: What `icrl.load_model` returns.
        prompt: How the history is told and the answer read.
        temperature: Of the policy over the labels; 0 takes the most probable one.

    Raises:
        ValueError: The temperature is negative or not a number.
    """

    model: Model
    prompt: Prompt = field(default_factory=Prompt)
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature: must be a number of at least 0, got {self.temperature}")

    def __repr__(self) -> str:
        return f"LLMAgent(model={self.model.facts}, prompt={self.prompt}, temperature={self.temperature})"

    @property
    def block(self) -> int | None:
        """Any batch: each row's randomness is keyed by its episode and time."""
        return None

    @cached_property
    def _chat(self) -> Chat:
        return Chat.of(self.model.tokenizer)

    @cached_property
    def _pieces(self) -> Pieces:
        return Pieces(self.model.tokenizer)

    def writer(self, public: Public) -> Writer:
        """Writes this agent's prompts for a task."""
        return Writer(self.prompt, public, self._pieces, self._chat)

    def check(self, public: Public) -> None:
        """Raises ValueError if labels are too few, or a whole episode's prompts cannot fit into the model's window."""
        if public.kind not in RULES or public.slots != 1:
            raise ValueError(
                f"task: prompts tell of bandits with one choice per step ({', '.join(RULES)}); got {public}; "
                f"{able(public)}"
            )
        self.names(public, np.arange(1), 0)  # are there enough labels?
        for mark in self.model.tokenizer.all_special_tokens:
            if said := [word for word in self.prompt.words if mark in word]:
                raise ValueError(f"labels: {said[0]!r} holds {mark!r}, which is a mark of this model's own")
        longest, window = self.writer(public).longest(), self.model.window
        if longest > window:
            raise ValueError(
                f"prompt: at t={public.horizon} it may be {longest} tokens long, but the window of {self.model.name} "
                f"is {window}; use a shorter horizon or history='summary'"
            )

    def names(self, public: Public, episodes: Ints, seed: int) -> Names | None:
        """Labels drawn by the prompt."""
        return self.prompt.names(public, episodes, seed)

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Talk:
        """Conversations that hold the instructions only."""
        writer = self.writer(public)
        names = names or self.prompt.names(public, episodes, seed)
        games = self.prompt.games
        shown = [[]] * len(names) if games is None else games.picked(public, episodes, seed)
        heads = list(map(writer.head, names, shown))
        head = np.array([len(h) for h in heads])
        ids = np.zeros((len(heads), 2 * int(head.max())), np.int32)
        for row, tokens in enumerate(heads):
            ids[row, : len(tokens)] = tokens
        choices = tuple(writer.choices(row) for row in names)
        history = self.prompt.past
        totals = Totals.none(len(heads), public.n_arms, history.last if isinstance(history, Summary) else 0)
        notes = self.prompt.notes
        advice = None if notes is None else notes.adviser.start(public, names, episodes, seed)
        return Talk(writer, names, choices, seed, ids, head, head[:, None], np.zeros((len(heads), 0)), totals, advice)

    def act(self, state: Talk, view: View) -> tuple[Talk, Choice]:
        """Asks the model once for the whole batch (again for answers that cannot be read, if the prompt says so)."""
        state, hints = self._hints(state, view)
        tails = list(map(state.writer.tail, state.writer.seen(view, state.names), hints))
        state, prompts = _prompts(state, view, tails)
        keys = [(state.seed, int(e)) for e in view.episode]
        if self.prompt.answer == "free":
            return state, self._free(state, view, prompts, keys)
        choices = state.choices
        if state.writer.public.variable:
            choices = tuple(
                tuple(c for c, here in zip(row, there, strict=True) if here)
                for row, there in zip(choices, view.legal.tolist(), strict=True)
            )
        queries = [
            Query(ids, key, given, self.temperature) for ids, key, given in zip(prompts, keys, choices, strict=True)
        ]
        return state, self._drawn(state, view, self.model.ask(queries))

    def update(self, state: Talk, view: View, choice: Choice, outcome: Outcome) -> Talk:
        """Appends what was seen, the answer and the reward, and counts them for a summary."""
        arms = choice.arm[:, 0]
        state.totals.add(arms, outcome.reward)
        if (notes := self.prompt.notes) is not None:
            advice = dealt(notes.adviser, state.advice, view, state.seed, 1)
            advice = notes.adviser.update(advice, view, Choice(choice.arm), outcome)
            state = replace(state, advice=advice)
        rewards = np.concatenate([state.rewards, outcome.reward[:, None]], axis=1)
        if isinstance(self.prompt.past, Summary):
            return replace(state, rewards=rewards)
        writer = state.writer
        pulled = [row[arm] if arm >= 0 else None for row, arm in zip(state.names, arms.tolist(), strict=True)]
        none = [None] * len(arms)
        said = map(writer.said, pulled, choice.text or none, none if choice.ids is None else choice.ids)
        steps = zip(said, pulled, outcome.reward.tolist(), writer.seen(view, state.names), strict=True)
        state = _appended(state, [writer.step(*step) for step in steps])
        return replace(state, rewards=rewards, marks=np.concatenate([state.marks, state.stem[:, None]], axis=1))

    def take(self, state: Talk, rows: Bools) -> Talk:
        """Keeps the rows of episodes that go on."""
        kept = np.flatnonzero(rows).tolist()
        arrays = {k: getattr(state, k)[rows] for k in ("ids", "stem", "marks", "rewards")}
        names, choices = tuple(state.names[r] for r in kept), tuple(state.choices[r] for r in kept)
        notes = self.prompt.notes
        advice = None if notes is None else notes.adviser.take(state.advice, rows)
        return replace(state, names=names, choices=choices, totals=state.totals.take(rows), advice=advice, **arrays)

    def _hints(self, state: Talk, view: View) -> tuple[Talk, list[list[str]]]:
        """What the adviser says to each row."""
        if (notes := self.prompt.notes) is None:
            return state, [[]] * len(view.t)
        advice, choice = notes.adviser.act(dealt(notes.adviser, state.advice, view, state.seed, 0), view)
        numbers, arms = controlled(notes, notes.adviser.advise(advice, view), choice.arm[:, 0], view, state.seed)
        rows = []
        for row, (names, arm) in enumerate(zip(state.names, arms.tolist(), strict=True)):
            there = np.flatnonzero(view.legal[row]).tolist()
            own = {name: cells[row].tolist() for name, cells in numbers.items()}
            rows.append(lines(notes, self.prompt.story, names, there, own, arm))
        return replace(state, advice=advice), rows

    def _drawn(self, state: Talk, view: View, answers: list[Answer]) -> Choice:
        """Draws from the policy by inverse transform, one uniform per (seed, episode, t)."""
        probs = np.zeros(view.legal.shape)
        there = view.legal if state.writer.public.variable else np.ones_like(view.legal)
        probs[there] = np.exp(np.concatenate([a.logp for a in answers]))
        cumulative = probs.cumsum(axis=1)
        u = tape.uniform(tape.key(state.seed, Stream.POLICY, view.episode, view.t)) * cumulative[:, -1]
        arms = (cumulative <= u[:, None]).sum(axis=1)
        return Choice(
            arm=arms[:, None],
            probs=probs[:, None],
            mass=np.array([[a.mass] for a in answers]),
            policy="exact",
            text=tuple(state.names[row][arm] for row, arm in enumerate(arms.tolist())),
            failed=np.zeros(len(arms), np.int64),
            usage=np.array([a.usage for a in answers]),
        )

    def _free(self, state: Talk, view: View, prompts: list[Tokens], keys: list[tuple[int, int]]) -> Choice:
        """Lets the model write, and reads what it wrote; unreadable answers are handled as the prompt declares."""
        until = (int(state.writer.encode(state.writer.chat.after)[0]),)
        arms, failed = np.full(len(prompts), -1), np.zeros(len(prompts), np.int64)
        texts, usage = [""] * len(prompts), np.zeros((len(prompts), 3), np.int64)
        said = np.full((len(prompts), self.prompt.max_tokens), -1)
        tries = 1 + (self.prompt.retries if self.prompt.on_failure == "retry" else 0)
        for attempt in range(tries):
            open_rows = np.flatnonzero(arms < 0).tolist()
            if not open_rows:
                break
            luck = tape.key(state.seed, Stream.POLICY, view.episode, view.t, attempt).tolist()
            queries = [
                Query(prompts[r], keys[r], None, self.temperature, luck[r], self.prompt.max_tokens, until)
                for r in open_rows
            ]
            for r, answer in zip(open_rows, self.model.ask(queries), strict=True):
                said[r], said[r, : len(answer.ids)] = -1, answer.ids
                texts[r] = self.model.tokenizer.decode(answer.ids).strip()
                arm = parse(texts[r], state.names[r])
                arms[r] = arm if arm >= 0 and view.legal[r, arm] else -1
                failed[r] += arms[r] < 0
                usage[r] += answer.usage
        if self.prompt.on_failure == "resample" and (lost := arms < 0).any():
            u = tape.uniform(tape.key(state.seed, Stream.FAILURE, view.episode, view.t))
            arms = np.where(lost, any_of(view.legal, u), arms)
        return Choice(arms[:, None], policy="sampled", text=tuple(texts), ids=said, failed=failed, usage=usage)


def _prompts(state: Talk, view: View, tails: list[Tokens]) -> tuple[Talk, list[Tokens]]:
    """What each row's model is to read: its stem and tail. Of an append-only history that is a view of the buffer."""
    history = state.writer.prompt.past
    if isinstance(history, Raw):
        longer = _appended(state, [(tail,) for tail in tails])
        return replace(longer, stem=state.stem), [longer.ids[row, :end] for row, end in enumerate(longer.stem)]
    heads = [state.ids[row, :end] for row, end in enumerate(state.marks[:, 0])]
    if isinstance(history, Summary):
        lines = map(state.writer.summaries, state.names, state.totals.rows())
        return state, [np.concatenate([h, *body, tail]) for h, body, tail in zip(heads, lines, tails, strict=True)]
    shown, prompts = history.keeps(state.seed, view.episode, state.rewards), []
    for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
        steps = state.ids[row, state.marks[row, 0] : state.stem[row]]
        prompts.append(np.concatenate([head, steps[np.repeat(shown[row], np.diff(state.marks[row]))], tail]))
    return state, prompts


def _appended(state: Talk, pieces: list[tuple[Tokens, ...]]) -> Talk:
    """Each row's stem, longer by its pieces."""
    added = np.array([sum(map(len, row)) for row in pieces])
    need = int((state.stem + added).max())
    ids = state.ids
    if need > ids.shape[1]:
        ids = np.pad(ids, ((0, 0), (0, 2 * need - ids.shape[1])))
    for row, (start, parts) in enumerate(zip(state.stem.tolist(), pieces, strict=True)):
        for part in parts:
            ids[row, start : start + len(part)] = part
            start += len(part)
    return replace(state, ids=ids, stem=state.stem + added)
