"""`LLMAgent`: a language model, a prompt and a temperature.

The state is a conversation per row (`icrl.prompts.talk`). The model itself is stateless; its cache finds what it has
read before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from icrl.agents.catalogue import able
from icrl.agents.classical import dealt
from icrl.agents.dice import any_of
from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View
from icrl.models.base import Answer, Model, Query
from icrl.prompts.chat import Chat
from icrl.prompts.instructions import refuses
from icrl.prompts.parse import distribution, parse
from icrl.prompts.pieces import Pieces, Tokens
from icrl.prompts.prompt import Prompt
from icrl.prompts.talk import Talk
from icrl.prompts.writer import Writer


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
        if why := refuses(public):
            raise ValueError(f"{why}; {able(public)}")
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
        names = names or self.prompt.names(public, episodes, seed)
        return Talk.begin(self.writer(public), names, episodes, seed, dealt)

    def act(self, state: Talk, view: View) -> tuple[Talk, Choice]:
        """Asks the model once for the whole batch (again for answers that cannot be read, if the prompt says so)."""
        state, prompts = state.asked(view)
        keys = [(state.seed, int(e)) for e in view.episode]
        if self.prompt.answer != "direct":
            return state, self._written(state, view, prompts, keys)
        allowed = zip(state.choices, view.legal.tolist(), strict=True)
        choices = [tuple(c for c, here in zip(row, there, strict=True) if here) for row, there in allowed]
        queries = [
            Query(ids, key, given, self.temperature) for ids, key, given in zip(prompts, keys, choices, strict=True)
        ]
        return state, self._drawn(state, view, self.model.ask(queries))

    def update(self, state: Talk, view: View, choice: Choice, outcome: Outcome) -> Talk:
        """Adds the step to the conversations."""
        return state.answered(view, choice, outcome)

    def take(self, state: Talk, rows: Bools) -> Talk:
        """Keeps the rows of episodes that go on."""
        return state.take(rows)

    def _drawn(self, state: Talk, view: View, answers: list[Answer]) -> Choice:
        """Draws from the policy."""
        probs = np.zeros(view.legal.shape)
        there = view.legal if state.writer.public.variable else np.ones_like(view.legal)
        probs[there] = np.exp(np.concatenate([a.logp for a in answers]))
        arms = _inverse(probs, state.seed, view)
        return Choice(
            arm=arms[:, None],
            probs=probs[:, None],
            mass=np.array([[a.mass] for a in answers]),
            policy="exact",
            text=tuple(state.names[row][arm] for row, arm in enumerate(arms.tolist())),
            failed=np.zeros(len(arms), np.int64),
            usage=np.array([a.usage for a in answers]),
        )

    def _written(self, state: Talk, view: View, prompts: list[Tokens], keys: list[tuple[int, int]]) -> Choice:
        """Lets the model write, and reads what it wrote; unreadable answers are handled as the prompt declares."""
        until = (state.writer.end,)
        limit = self.prompt.limit(state.writer.public.n_arms)
        policy, failed = np.full(view.legal.shape, np.nan), np.zeros(len(prompts), np.int64)
        texts, usage = [""] * len(prompts), np.zeros((len(prompts), 3), np.int64)
        said = np.full((len(prompts), limit), -1)
        tries = 1 + (self.prompt.retries if self.prompt.on_failure == "retry" else 0)
        for attempt in range(tries):
            open_rows = np.flatnonzero(np.isnan(policy[:, 0])).tolist()
            if not open_rows:
                break
            luck = tape.key(state.seed, Stream.POLICY, view.episode, view.t, attempt).tolist()
            queries = [Query(prompts[r], keys[r], None, self.temperature, luck[r], limit, until) for r in open_rows]
            for r, answer in zip(open_rows, self.model.ask(queries), strict=True):
                said[r], said[r, : len(answer.ids)] = -1, answer.ids
                texts[r] = self.model.tokenizer.decode(answer.ids).strip()
                policy[r] = read(self.prompt.answer, texts[r], state.names[r], view.legal[r])
                failed[r] += np.isnan(policy[r, 0])
                usage[r] += answer.usage
        lost = np.isnan(policy[:, 0])
        arms = np.where(lost, -1, _inverse(np.where(lost[:, None], 1.0, policy), state.seed, view))
        if self.prompt.on_failure == "resample" and lost.any():
            u = tape.uniform(tape.key(state.seed, Stream.FAILURE, view.episode, view.t))
            arms = np.where(lost, any_of(view.legal, u), arms)
        if self.prompt.answer == "distribution":
            return Choice(arms[:, None], policy[:, None], None, "exact", tuple(texts), said, failed, usage)
        return Choice(arms[:, None], None, None, "sampled", tuple(texts), said, failed, usage)


def read(answer: str, text: str, names: Sequence[str], legal: Bools) -> Floats:
    """[K] the policy that an answer tells; NaN where it cannot be read, or names an arm that is not there."""
    if answer == "distribution":
        shares = distribution(text, names)
    else:
        arm = parse(text, names)
        shares = None if arm < 0 else np.eye(len(names))[arm]
    return np.full(len(names), np.nan) if shares is None or (shares[~legal] > 0).any() else shares


def _inverse(probs: Floats, seed: int, view: View) -> Ints:
    """[R] arms drawn from probs [R, K] by inverse transform, one uniform per (seed, episode, t)."""
    cumulative = probs.cumsum(axis=1)
    u = tape.uniform(tape.key(seed, Stream.POLICY, view.episode, view.t)) * cumulative[:, -1]
    arms: Ints = (cumulative <= u[:, None]).sum(axis=1)
    return arms
