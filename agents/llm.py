"""`LLMAgent`: a language model, a prompt and a temperature.

The state is what the prompts need: the tokens of each row's stem, which only grows, or the counts that a summary
shows. The model itself is stateless; its cache finds what it has read before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from icrl.agents.catalogue import able
from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View
from icrl.models.base import Answer, Choices, Model, Query
from icrl.prompts.chat import Chat
from icrl.prompts.parse import parse
from icrl.prompts.pieces import Pieces, Tokens
from icrl.prompts.prompt import Prompt
from icrl.prompts.writer import Writer


@dataclass(frozen=True)
class Talk:
    """R conversations; arrays are advanced in place."""

    writer: Writer
    names: Names
    choices: tuple[Choices, ...]
    seed: int
    ids: Tokens
    """[R, room] the stem of each row, and behind it the tail of the moment."""
    stem: Ints
    """[R] length of the stem."""
    head: Ints
    """[R] length of the part before the first step."""
    pulls: Ints
    total: Floats


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
        if public.kind != "bandit" or public.slots != 1 or public.context_dim or public.variable:
            raise ValueError(
                "task: prompts tell of stationary bandits whose arms are always there, one choice per step; got "
                f"{public}; {able(public)}"
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
        heads = [writer.head(row) for row in names]
        head = np.array([len(h) for h in heads])
        ids = np.zeros((len(heads), 2 * int(head.max())), np.int32)
        for row, tokens in enumerate(heads):
            ids[row, : len(tokens)] = tokens
        shape = (len(heads), public.n_arms)
        choices = tuple(writer.choices(row) for row in names)
        return Talk(writer, names, choices, seed, ids, head.copy(), head, np.zeros(shape, np.int64), np.zeros(shape))

    def act(self, state: Talk, view: View) -> tuple[Talk, Choice]:
        """Asks the model once for the whole batch (again for answers that cannot be read, if the prompt says so)."""
        if not self.prompt.append_only:
            state = _summarised(state)
        tail = state.writer.tail()
        state = _appended(state, [(tail,)] * len(view.t))
        ends = state.stem
        state = replace(state, stem=ends - len(tail))
        prompts = [state.ids[row, :end] for row, end in enumerate(ends)]
        keys = [(state.seed, int(e)) for e in view.episode]
        if self.prompt.answer == "free":
            return state, self._free(state, view, prompts, keys)
        queries = [
            Query(ids, key, choices, self.temperature)
            for ids, key, choices in zip(prompts, keys, state.choices, strict=True)
        ]
        return state, self._drawn(state, view, self.model.ask(queries))

    def update(self, state: Talk, view: View, choice: Choice, outcome: Outcome) -> Talk:
        """Appends the answer and the reward to the stem, or counts them for the next summary."""
        arms = choice.arm[:, 0]
        rows = np.flatnonzero(arms >= 0)
        state.pulls[rows, arms[rows]] += 1
        state.total[rows, arms[rows]] += outcome.reward[rows]
        if not self.prompt.append_only:
            return state
        pulled = [row[arm] if arm >= 0 else None for row, arm in zip(state.names, arms.tolist(), strict=True)]
        none = [None] * len(arms)
        said = map(state.writer.said, pulled, choice.text or none, none if choice.ids is None else choice.ids)
        steps = zip(said, pulled, outcome.reward.tolist(), strict=True)
        return _appended(state, [state.writer.step(*step) for step in steps])

    def take(self, state: Talk, rows: Bools) -> Talk:
        """Keeps the rows of episodes that go on."""
        kept = np.flatnonzero(rows).tolist()
        arrays = {k: getattr(state, k)[rows] for k in ("ids", "stem", "head", "pulls", "total")}
        names, choices = tuple(state.names[r] for r in kept), tuple(state.choices[r] for r in kept)
        return replace(state, names=names, choices=choices, **arrays)

    def _drawn(self, state: Talk, view: View, answers: list[Answer]) -> Choice:
        """Draws from the policy by inverse transform, one uniform per (seed, episode, t)."""
        probs = np.exp(np.array([a.logp for a in answers]))
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
                arms[r] = parse(texts[r], state.names[r])
                failed[r] += arms[r] < 0
                usage[r] += answer.usage
        if self.prompt.on_failure == "resample" and (lost := arms < 0).any():
            u = tape.uniform(tape.key(state.seed, Stream.FAILURE, view.episode, view.t))
            arms = np.where(lost, (u * view.legal.shape[1]).astype(np.int64), arms)
        return Choice(arms[:, None], policy="sampled", text=tuple(texts), ids=said, failed=failed, usage=usage)


def _summarised(state: Talk) -> Talk:
    """The stems of this moment: head and one line per arm."""
    state = replace(state, stem=state.head.copy())
    mean = state.total / np.maximum(state.pulls, 1)
    rows = []
    for names, pulls, means in zip(state.names, state.pulls.tolist(), mean.tolist(), strict=True):
        rows.append(state.writer.summaries(names, pulls, means))
    return _appended(state, rows)


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
