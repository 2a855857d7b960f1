"""The one loop: agents meet worlds here and nowhere else.

`play` moves a batch of episodes in lockstep, one call of the agent per step; `rollout` plays all episodes and
returns columns; `replay` folds an agent over the history of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icrl.agents.base import AnyAgent
from icrl.agents.record import Step, among, collect
from icrl.envs.episodes import Episodes, join
from icrl.envs.types import USAGE, AnyWorld, Choice, Ints, Names, Outcome, Public, View, take

ROWS = 4096  # rows of classical agents that move together: enough to hide numpy's call costs, small enough for caches
CONTEXT_ROWS = 512  # the same where agents keep matrices


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
            choice = recorded(past, rows, t)
        else:
            state, choice = agent.act(state, view)
            choice = _checked(choice, public, view)
        inside, outcome, truth = world.step(inside, choice.arm)
        if t >= stored:
            yield Step(rows, view, choice, outcome, truth)
        over = outcome.terminated | outcome.truncated
        if not over.all():
            state = agent.update(state, view, choice, outcome)
        if over.any():
            rows, inside, state = rows[~over], take(inside, ~over), agent.take(state, ~over)
        t += 1


def _checked(choice: Choice, public: Public, view: View) -> Choice:
    """Raises ValueError for a choice that the task cannot have; a world would play some other row's arm."""
    rows, k = len(view.t), public.n_arms
    shape = (rows, public.slots)
    shapes = {
        "arm": shape,
        "probs": (*shape, k),
        "mass": shape,
        "failed": (rows,),
        "usage": (rows, len(USAGE)),
        "dropped": (rows, 2),
        "cut": (rows,),
    }
    for name, wanted in shapes.items():
        if (cells := getattr(choice, name)) is not None and cells.shape != wanted:
            raise ValueError(f"agent: Choice.{name} must have the shape {wanted}, got {cells.shape}")
    if choice.arm.dtype.kind not in "iu" or (choice.arm < -1).any() or (choice.arm >= k).any():
        raise ValueError(
            f"agent: Choice.arm must hold arms 0 to {k - 1}, or -1 for none, as integers; got "
            f"{sorted(set(choice.arm.ravel().tolist()))[:10]}"
        )
    if public.variable and (gone := ~np.take_along_axis(view.legal, choice.arm, axis=1) & (choice.arm >= 0)).any():
        row = int(np.flatnonzero(gone.any(axis=1))[0])
        raise ValueError(
            f"agent: episode {view.episode[row]}, step {view.t[row]}: arm {choice.arm[row].tolist()} is not there, but "
            f"{np.flatnonzero(view.legal[row]).tolist()}"
        )
    return choice if choice.arm.dtype == np.int64 else replace(choice, arm=choice.arm.astype(np.int64))


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
    wanted, seed, batch = indices(episodes), integer("seed", seed, 0), integer("batch", batch, 1)
    for name, value, method in (("agent", agent, "act"), ("task", task, "step")):
        if isinstance(value, type) or not callable(getattr(value, method, None)):
            raise ValueError(f"{name}: must be an object such as icrl.UCB() or icrl.make('contexts'), got {value!r}")
    agent.check(task.public)
    parts = [
        collect(agent, task, group, seed, _watched(play(agent, task, group, seed), on_step))
        for group in batches(wanted, agent.block, batch, task.public)
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


def indices(episodes: int | Sequence[int]) -> Ints:
    """[B] checked episode indices."""
    try:
        given: NDArray[Any] = np.arange(episodes) if isinstance(episodes, int | np.integer) else np.asarray(episodes)
    except ValueError:  # rows of different lengths
        given = np.zeros(0)
    good = given.ndim == 1 and given.dtype.kind in "iuf" and len(given) > 0 and (given == np.floor(given)).all()
    if not good or given.min() < 0 or given.max() >= 2**62 or len(np.unique(given)) < len(given) or episodes is True:
        raise ValueError(f"episodes: give a number of at least 1, or distinct indices from 0, got {episodes!r}")
    return given.astype(np.int64)


def integer(name: str, value: Any, lowest: int) -> int:
    """A whole number from `lowest` on, whatever library it comes from."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < lowest:
        raise ValueError(f"{name}: must be a whole number of at least {lowest}, got {value!r}")
    return int(value)


def batches(wanted: Ints, block: int | None, batch: int, public: Public) -> list[Ints]:
    """Groups of episode indices that are played together; whole blocks, if the agent asks for them."""
    if block is not None and block < 1:
        raise ValueError(f"agent: its block must be None or at least 1, got {block}")
    if block is None:
        return [wanted[i : i + batch] for i in range(0, len(wanted), batch)]
    blocks = np.unique(wanted // block)
    at_once = max(1, (CONTEXT_ROWS if public.context_dim else ROWS) // block)
    groups = [blocks[i : i + at_once] for i in range(0, len(blocks), at_once)]
    return [(g[:, None] * block + np.arange(block)).ravel() for g in groups]


def replay(agent: AnyAgent, episodes: Episodes) -> Iterator[Choice]:
    """Folds `agent` over a recorded history: at each step what it would choose, then what was in fact played.

    A classical agent draws (ties, posteriors) for whole blocks of 256 episodes: over its own run it repeats its choices
    if the run holds whole blocks, else only those that needed no draw.

    Yields:
        One `Choice` per step t, of all B rows; rows past their length hold arm -1.
    """
    rows = np.arange(len(episodes))
    public = episodes.public
    if not len(rows):
        raise ValueError("episodes: at least one is needed, got none")
    agent.check(public)
    state = agent.start(public, episodes.names, episodes.episode, episodes.seed)
    for t in range(episodes.horizon):
        over = episodes.lengths[rows] <= t
        if over.any():
            rows, state = rows[~over], agent.take(state, ~over)
        view = episodes.view(rows, np.full(len(rows), t))
        state, choice = agent.act(state, view)
        yield among(choice, rows, len(episodes))
        ended = np.zeros(len(rows), np.bool_)
        outcome = Outcome(episodes.rewards[rows, t], ended, ended)
        state = agent.update(state, view, recorded(episodes, rows, t), outcome)


def recommend(agent: AnyAgent, episodes: Episodes) -> Ints:
    """Folds `agent` over whole episodes, and asks what it would choose next: what it makes of an offline log.

    Returns:
        [B] an arm per episode.
    """
    public = episodes.public
    longer = replace(episodes, lengths=episodes.lengths + 1, arms=_longer(episodes.arms, -1))
    longer = replace(longer, rewards=_longer(episodes.rewards, np.nan), gap=_longer(episodes.gap, np.nan))
    longer = replace(longer, probs=None, usage=None)  # of the step that nobody played they are not known
    if public.context_dim or public.trials > 1 or episodes.legal is not None or episodes.text is not None:
        raise ValueError(
            "episodes: what would be seen next is not known for tasks with contexts, missing arms or several games"
        )
    arms = np.full((len(episodes), longer.horizon), -1)
    for t, choice in enumerate(replay(agent, longer)):
        arms[:, t] = choice.arm[:, 0]
    return arms[np.arange(len(episodes)), episodes.lengths]


def _longer(column: NDArray[Any], fill: float) -> NDArray[Any]:
    """One more step, in which nothing was chosen."""
    return np.concatenate([column, np.full_like(column[:, :1], fill)], axis=1)


def recorded(past: Episodes, rows: Ints, t: int) -> Choice:
    """What was chosen at step t."""
    arms = past.arms[rows, t]
    text, thought = (None if said is None else tuple(said[rows, t].tolist()) for said in (past.text, past.thought))
    failed = None if past.failed is None else past.failed[rows, t]
    ids = None if past.ids is None else past.ids[rows, t]
    usage = None if past.usage is None else past.usage[rows, t]
    shape = (len(rows), past.public.slots, past.public.n_arms)
    probs = None if past.probs is None else past.probs[rows, t].reshape(shape)
    return Choice(arms.reshape(len(rows), -1), probs, text=text, ids=ids, failed=failed, usage=usage, thought=thought)
