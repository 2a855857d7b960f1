"""Histories that nobody played: cut, shuffled or corrupted ones, and the policy of an agent after them.

`icrl.agents.diagnose` asks its questions with these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from icrl.agents.base import AnyAgent
from icrl.agents.duels import RUCB
from icrl.agents.llm import LLMAgent
from icrl.agents.rollout import integer, recorded, rollout
from icrl.agents.simple import Uniform
from icrl.envs import tape
from icrl.envs.episodes import Episodes
from icrl.envs.tape import Keys, Stream
from icrl.envs.types import AnyWorld, Floats, Outcome, Public, View
from icrl.models.base import Answer, Model, Query
from icrl.prompts.prompt import Answer as Answering

ROWS = 64
"""Histories that are read at once."""
STEPS = 4
"""At how many steps of an episode is looked, where not at all."""


class Once:
    """A model that answers each prompt once: equal prompts have equal answers, to the last bit."""

    def __init__(self, model: Model) -> None:
        self.name, self.tokenizer, self.window, self.facts = model.name, model.tokenizer, model.window, model.facts
        self.exact = model.exact
        self._ask, self._known = model.ask, dict[Any, Answer]()
        self.check_steering = model.check_steering

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """The model's answers to prompts that it has not met, and those that it gave to the others."""
        rest = [(q.temperature, q.seed, q.limit, q.until, q.stop, q.steer and q.steer.key) for q in queries]
        keys = [(q.ids.tobytes(), q.choices, *own) for q, own in zip(queries, rest, strict=True)]
        new = {key: q for key, q in zip(keys, queries, strict=True) if key not in self._known}
        if new:
            self._known |= zip(new, self._ask(list(new.values())), strict=True)
        return [self._known[key] for key in keys]


def scored(agent: LLMAgent) -> LLMAgent:
    """The same agent, whose policy is read from probabilities, after a thought if it thinks.

    Raises:
        ValueError: Its model gives none.
    """
    if not agent.model.exact:
        raise ValueError(
            f"agent: this needs the probabilities of the labels, which {agent.model.name} does not give; transformers "
            "models, vllm:MODEL and vLLM servers do"
        )
    answer: Answering = "thought" if agent.prompt.thinks else "direct"
    return replace(agent, prompt=replace(agent.prompt, answer=answer))


def once(agent: LLMAgent) -> LLMAgent:
    """The same agent, scored, that asks nothing twice."""
    return replace(scored(agent), model=Once(agent.model))


def histories(
    agent: LLMAgent, task: AnyWorld, episodes: int | Sequence[int], seed: int, player: AnyAgent | None = None
) -> Episodes:
    """Play of another (None: uniform, or duels of RUCB), in the labels that an agent shows.

    Raises:
        ValueError: The agent cannot play the task, or a number is out of range.
    """
    agent.check(task.public)
    runs = rollout(player or anyone(task.public), task, episodes=episodes, seed=seed)
    return replace(runs, names=agent.names(task.public, runs.episode, seed))


def anyone(public: Public) -> AnyAgent:
    """Who makes histories of such a task: a uniform player, or one of duels, which it cannot play."""
    return Uniform() if public.slots == 1 else RUCB()


def probes(agent: LLMAgent, runs: Episodes) -> Iterator[tuple[Any, View]]:
    """An agent's states and what it sees at STEPS steps of episodes, from the first to the last."""
    for t in np.unique(np.linspace(0, runs.horizon - 1, STEPS).astype(int)).tolist():
        yield folded(agent, runs.take(runs.lengths > t), t)


def within(name: str, steps: Any, lowest: int, runs: Episodes) -> int:
    """A checked number of steps after which all episodes go on."""
    if integer(name, steps, lowest) >= (shortest := int(runs.lengths.min())):
        raise ValueError(f"{name}: must be below {shortest}, since a question follows, got {steps}")
    return int(steps)


def folded(agent: AnyAgent, runs: Episodes, steps: int) -> tuple[Any, View]:
    """An agent's state after the first steps of episodes, and what it sees then."""
    rows, ended = np.arange(len(runs)), np.zeros(len(runs), np.bool_)
    state = agent.start(runs.public, runs.names, runs.episode, runs.seed)
    for t in range(steps):
        view, outcome = runs.view(rows, np.full(len(rows), t)), Outcome(runs.rewards[:, t], ended, ended)
        state = agent.update(state, view, recorded(runs, rows, t), outcome)
    return state, runs.view(rows, np.full(len(rows), steps))


def policy_after(agent: LLMAgent, runs: Episodes, steps: int) -> Floats:
    """[B, K] an agent's policy after the first steps of episodes: it is asked once, not at each step."""
    parts = [runs.take(slice(i, i + ROWS)) for i in range(0, len(runs), ROWS)]
    choices = [agent.act(*folded(agent, part, steps))[1] for part in parts]
    return np.concatenate([choice.probs[:, 0] for choice in choices if choice.probs is not None])


def corrupted(runs: Episodes, steps: int, rate: float) -> Episodes:
    """The same episodes with int(rate * steps) of their first rewards flipped; they are 0 or 1."""
    flip = tape.uniform(_keys(runs, steps)).argsort(axis=1)[:, : int(rate * steps)]
    rewards = runs.rewards.copy()
    np.put_along_axis(rewards, flip, 1 - np.take_along_axis(rewards, flip, axis=1), axis=1)
    return replace(runs, rewards=rewards)


def permuted(runs: Episodes, steps: int, nth: int) -> Episodes:
    """The same episodes with their first steps in another order; the 0th order is their own."""
    if not nth:
        return runs
    order = np.tile(np.arange(runs.horizon), (len(runs), 1))
    order[:, :steps] = tape.uniform(_keys(runs, steps), nth).argsort(axis=1)
    columns = {k: v for k, v in runs.columns().items() if v.ndim >= 2 and k != "means"}
    return replace(runs, **{k: v[np.arange(len(runs))[:, None], order] for k, v in columns.items()})


def _keys(runs: Episodes, steps: int) -> Keys:
    """[B, steps] of each step: its number 0 is for corruption, the others for orders."""
    return tape.key(runs.seed, Stream.CHECK, runs.episode[:, None], np.arange(steps))
