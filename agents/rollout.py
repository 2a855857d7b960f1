"""The one loop: agents meet worlds here and nowhere else.

`play` moves a batch of episodes in lockstep, one call of the agent per step; `rollout` plays all episodes and
returns columns; `replay` folds an agent over the history of another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from icrl.agents.base import AnyAgent
from icrl.envs.episodes import Episodes, join
from icrl.envs.types import AnyWorld, Choice, Ints, Names, Outcome, Public, Truth, View, take

ROWS = 4096  # rows of classical agents that move together: enough to hide numpy's call costs, small enough for caches


@dataclass(frozen=True)
class Step:
    """One lockstep step: `rows` [R] say which episodes of the batch were still alive."""

    rows: Ints
    view: View
    choice: Choice
    outcome: Outcome
    truth: Truth


def play(
    agent: AnyAgent,
    world: AnyWorld,
    episodes: Ints,
    seed: int,
    names: Names | None = None,
    past: Episodes | None = None,
) -> Iterator[Step]:
    """Plays a batch to its end, yielding each step.

    Args:
        agent: Any agent; it is not checked here.
        world: The task.
        episodes: [B] indices of the episodes.
        seed: Seed of the luck and of the agent.
        names: Labels to show; None: those that the agent draws.
        past: The first steps of these very episodes, all equally many: they are folded, not played again. For agents
            whose draws are keyed by episode and time (those without a `block`).
    """
    public = world.public
    rows = np.arange(len(episodes))
    inside = world.start(episodes, seed)
    state = agent.start(public, names or agent.names(public, episodes, seed), episodes, seed)
    stored = past.horizon if past is not None else 0
    t = 0
    while len(rows):
        view = world.view(inside)
        if past is not None and t < stored:
            choice = _choice(past, rows, t)
        else:
            state, choice = agent.act(state, view)
            _check(choice.arm, public, len(rows))
        inside, outcome, truth = world.step(inside, choice.arm)
        if t >= stored:
            yield Step(rows, view, choice, outcome, truth)
        over = outcome.terminated | outcome.truncated
        if not over.all():
            state = agent.update(state, view, choice, outcome)
        if over.any():
            rows, inside, state = rows[~over], take(inside, ~over), agent.take(state, ~over)
        t += 1


def _check(arm: Ints, public: Public, rows: int) -> None:
    """Raises ValueError for a choice that the task cannot have; a world would play some other row's arm."""
    if arm.shape != (rows, public.slots) or (arm < -1).any() or (arm >= public.n_arms).any():
        raise ValueError(
            f"agent: Choice.arm must have the shape {(rows, public.slots)} and hold arms 0 to {public.n_arms - 1}, or "
            f"-1 for none; got shape {arm.shape} with {sorted(set(arm.ravel().tolist()))[:10]}"
        )


def rollout(
    agent: AnyAgent,
    task: AnyWorld,
    *,
    episodes: int | Sequence[int] = 64,
    seed: int = 0,
    batch: int = 64,
    on_step: Callable[[Step], None] | None = None,
) -> Episodes:
    """Plays `agent` on `task`.

    Equal task, seed and episode index mean equal luck, whatever the agent.

    Args:
        agent: A classical algorithm, an `LLMAgent`, or anything with the methods of `icrl.agents.Agent`.
        task: What `icrl.make` returns, or any world.
        episodes: How many, or which indices.
        seed: Seed of the luck and of the agent.
        batch: Episodes that a model agent plays at once. Classical agents always play whole blocks, and their
            results do not depend on it.
        on_step: Called after each lockstep step, e.g. to show progress.

    Returns:
        Episodes, in the order of `episodes`.

    Raises:
        ValueError: The agent cannot play such a task, or `episodes`, `seed` or `batch` is out of range.
    """
    wanted = indices(episodes, seed)
    if batch < 1:
        raise ValueError(f"batch: must be at least 1, got {batch}")
    agent.check(task.public)
    parts = [
        collect(agent, task, group, seed, _watched(play(agent, task, group, seed), on_step))
        for group in batches(wanted, agent.block, batch)
    ]
    found = np.concatenate([p.episode for p in parts])
    whole = join(parts) if len(parts) > 1 else parts[0]
    if np.array_equal(found, wanted):
        return whole
    order = np.argsort(found)
    return whole.take(order[np.searchsorted(found[order], wanted)])


def _watched(steps: Iterator[Step], on_step: Callable[[Step], None] | None) -> Iterator[Step]:
    for step in steps:
        if on_step is not None:
            on_step(step)
        yield step


def indices(episodes: int | Sequence[int], seed: int) -> Ints:
    """[B] checked episode indices."""
    given: NDArray[Any] = np.arange(episodes) if isinstance(episodes, int | np.integer) else np.asarray(episodes)
    wanted: Ints = given.astype(np.int64)
    distinct = given.ndim == 1 and len(np.unique(wanted)) == len(given)
    if not distinct or not len(given) or wanted.min() < 0 or (wanted != given).any():
        raise ValueError(f"episodes: give a number of at least 1, or distinct indices from 0, got {episodes!r}")
    if seed < 0:
        raise ValueError(f"seed: must be at least 0, got {seed}")
    return wanted


def batches(wanted: Ints, block: int | None, batch: int) -> list[Ints]:
    """Groups of episode indices that are played together; whole blocks, if the agent asks for them."""
    if block is None:
        return [wanted[i : i + batch] for i in range(0, len(wanted), batch)]
    blocks = np.unique(wanted // block)
    at_once = max(1, ROWS // block)
    groups = [blocks[i : i + at_once] for i in range(0, len(blocks), at_once)]
    return [(g[:, None] * block + np.arange(block)).ravel() for g in groups]


def collect(agent: AnyAgent, task: AnyWorld, episodes: Ints, seed: int, steps: Iterator[Step]) -> Episodes:
    """Runs `steps` to their end and stacks them into columns."""
    b, t = len(episodes), 0
    played: dict[str, NDArray[Any]] = {}
    lengths, terminated = np.zeros(b, np.int64), np.zeros(b, np.bool_)
    for step in steps:  # nothing of a step is kept but its cells: views are large
        for name, cells in _cells(step).items():
            if t == 0:
                played[name] = np.empty((task.public.horizon or 64, b, *cells.shape[1:]), cells.dtype)
            elif t == len(played[name]):
                played[name] = np.resize(played[name], (2 * t, *played[name].shape[1:]))
            played[name][t] = _spread(cells, step.rows, b)
        rows = step.rows if len(step.rows) < b else slice(None)
        lengths[rows] += 1
        terminated[rows] |= step.outcome.terminated
        t += 1
    columns = {name: cells[:t].swapaxes(0, 1) for name, cells in played.items()}
    for name in ("arms", "probs", "mass"):
        if name in columns and task.public.slots == 1:
            columns[name] = columns[name][:, :, 0]
    if "text" in columns:
        columns["text"] = columns["text"].astype(np.str_)
    columns |= {"lengths": lengths, "terminated": terminated}
    return record(task, identity(agent), episodes, seed, agent.names(task.public, episodes, seed), columns)


def record(
    task: AnyWorld, agent: str, episodes: Ints, seed: int, names: Names | None, columns: Mapping[str, Any]
) -> Episodes:
    """Columns of what was played, with what the task says of these episodes in hindsight."""
    truth = task.instances(episodes, seed)
    return Episodes(
        task=identity(task),
        agent=agent,
        seed=seed,
        public=task.public,
        episode=episodes,
        names=names,
        means=truth.means,
        best_arm=truth.best_arm,
        **columns,
    )


def _cells(step: Step) -> dict[str, NDArray[Any]]:
    """What one step adds to the columns that this agent fills."""
    choice = step.choice
    cells = {"arms": choice.arm, "rewards": step.outcome.reward, "gap": step.truth.gap}
    extras = {"probs": choice.probs, "mass": choice.mass, "failed": choice.failed}
    extras |= {"usage": choice.usage, "ids": choice.ids}
    if choice.text is not None:
        extras["text"] = np.array(choice.text, dtype=object)
    return cells | {k: v for k, v in extras.items() if v is not None}


def replay(agent: AnyAgent, episodes: Episodes) -> Iterator[Choice]:
    """Folds `agent` over a recorded history: at each step what it would choose, then what was in fact played.

    A classical agent draws (ties, posteriors) for whole blocks of 256 episodes: over its own run it repeats its choices
    if the run holds whole blocks, else only those that needed no draw.

    Yields:
        One `Choice` per step t, of all B rows; rows past their length hold arm -1.
    """
    rows = np.arange(len(episodes))
    public = episodes.public
    state = agent.start(public, episodes.names, episodes.episode, episodes.seed)
    for t in range(episodes.horizon):
        over = episodes.lengths[rows] <= t
        if over.any():
            rows, state = rows[~over], agent.take(state, ~over)
        legal = np.ones((len(rows), public.n_arms), np.bool_)
        view = View(episodes.episode[rows], np.full(len(rows), t), np.zeros(len(rows), np.int64), legal)
        state, choice = agent.act(state, view)
        yield _among(choice, rows, len(episodes))
        ended = np.zeros(len(rows), np.bool_)
        outcome = Outcome(episodes.rewards[rows, t], ended, ended)
        state = agent.update(state, view, _choice(episodes, rows, t), outcome)


def _among(choice: Choice, rows: Ints, b: int) -> Choice:
    """A choice of live rows as one of all b rows."""
    if len(rows) == b:
        return choice
    columns: dict[str, Any] = {k: _spread(v, rows, b) for k, v in vars(choice).items() if isinstance(v, np.ndarray)}
    if choice.text is not None:
        columns["text"] = tuple(_spread(np.array(choice.text, dtype=object), rows, b).tolist())
    return replace(choice, **columns)


def _choice(past: Episodes, rows: Ints, t: int) -> Choice:
    """What was chosen at step t."""
    arms = past.arms[rows, t]
    text = None if past.text is None else tuple(past.text[rows, t].tolist())
    failed = None if past.failed is None else past.failed[rows, t]
    ids = None if past.ids is None else past.ids[rows, t]
    return Choice(arms.reshape(len(rows), -1), text=text, ids=ids, failed=failed)


def _spread(cells: NDArray[Any], rows: Ints, b: int) -> NDArray[Any]:
    """The cells [R, ...] of live rows among all b rows; the others hold NaN, -1 or an empty text."""
    if len(rows) == b:
        return cells
    fill: Any = {"f": np.nan, "i": -1, "O": ""}[cells.dtype.kind]
    spread = np.full((b, *cells.shape[1:]), fill, cells.dtype)
    spread[rows] = cells
    return spread


def identity(value: Any) -> str:
    """The JSON text of a spec, or the repr of an agent: equal values, equal texts."""
    return json.dumps(value.model_dump(mode="json"), sort_keys=True) if isinstance(value, BaseModel) else repr(value)
