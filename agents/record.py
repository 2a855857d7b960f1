"""What is written down of play: steps become the columns of `Episodes`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from icrl.agents.base import AnyAgent
from icrl.envs.episodes import Episodes, nothing, widened
from icrl.envs.types import AnyWorld, Bools, Choice, Ints, Names, Outcome, Public, Truth, View, take


@dataclass(frozen=True)
class Step:
    """One lockstep step: `rows` [R] say which episodes of the batch were still alive."""

    rows: Ints
    view: View
    choice: Choice
    outcome: Outcome
    truth: Truth


def collect(agent: AnyAgent, task: AnyWorld, episodes: Ints, seed: int, steps: Iterator[Step]) -> Episodes:
    """Runs `steps` to their end and stacks them into columns."""
    b, t = len(episodes), 0
    played: dict[str, NDArray[Any]] = {}
    lengths, terminated = np.zeros(b, np.int64), np.zeros(b, np.bool_)
    room = task.public.horizon or 64
    for step in steps:  # nothing of a step is kept but its cells: views are large
        if t == room:
            room *= 2
            played = {
                name: np.concatenate([column, nothing(column.shape, column.dtype)]) for name, column in played.items()
            }
        for name, cells in _cells(step, task.public).items():
            if name not in played:
                played[name] = nothing((room, b, *cells.shape[1:]), cells.dtype)
            if name == "ids" and played[name].shape[2] != cells.shape[1]:
                played[name], cells = widened([played[name], cells])
            played[name][t] = spread(cells, step.rows, b)
        rows = step.rows if len(step.rows) < b else slice(None)
        lengths[rows] += 1
        terminated[rows] |= step.outcome.terminated
        t += 1
    columns = {name: cells[:t].swapaxes(0, 1) for name, cells in played.items()}
    for name in ("arms", "probs", "mass"):
        if name in columns and task.public.slots == 1:
            columns[name] = columns[name][:, :, 0]
    texts = ("policy", "text", "thought", "refused", "obs")
    columns |= {name: columns[name].astype(np.str_) for name in texts if name in columns}
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


def seen(task: AnyWorld, episodes: Ints, seed: int, arms: Ints, lengths: Ints) -> dict[str, NDArray[Any]]:
    """Contexts and legal arms [B, T, ...] of play that is stored without them: they follow from its arms [B, T]."""
    public, rows = task.public, np.arange(len(episodes))
    if not (public.context_dim or public.variable or public.trials > 1):
        return {}
    state, found = task.start(episodes, seed), list[dict[str, NDArray[Any]]]()
    for t in range(arms.shape[1]):
        found.append({k: spread(v, rows, len(episodes)) for k, v in _shown(task.view(state), public).items()})
        state, _, _ = task.step(state, arms[rows, t].reshape(len(rows), -1))
        on = lengths[rows] > t + 1
        rows, state = rows[on], take(state, on)
    columns = {name: np.stack([cells[name] for cells in found], axis=1) for name in found[0]}
    return columns | {name: columns[name].astype(np.str_) for name in ("obs",) if name in columns}


def _shown(view: View, public: Public) -> dict[str, NDArray[Any]]:
    """What of a view is worth a column."""
    shown: dict[str, NDArray[Any] | None] = {"context": view.context, "legal": view.legal if public.variable else None}
    shown["trial"] = view.trial if public.trials > 1 else None
    shown["obs"] = None if view.obs is None else np.array(view.obs, dtype=object)
    return {k: v for k, v in shown.items() if v is not None}


def _cells(step: Step, public: Public) -> dict[str, NDArray[Any]]:
    """What one step adds to the columns that this agent fills."""
    choice = step.choice
    cells = {"arms": choice.arm, "rewards": step.outcome.reward, "gap": step.truth.gap}
    extras = {"probs": choice.probs, "mass": choice.mass, "failed": choice.failed}
    extras |= {"usage": choice.usage, "ids": choice.ids, "dropped": choice.dropped, "cut": choice.cut}
    said = _words(choice)
    if (policy := policies(choice)) is not None:
        said["policy"] = policy
    extras |= {name: np.array(texts, dtype=object) for name, texts in said.items()}
    return cells | _shown(step.view, public) | {k: v for k, v in extras.items() if v is not None}


def spread(cells: NDArray[Any], rows: Ints, b: int) -> NDArray[Any]:
    """The cells [R, ...] of live rows among all b rows; the others hold NaN, -1 or an empty text."""
    if len(rows) == b:
        return cells
    among = nothing((b, *cells.shape[1:]), cells.dtype)
    among[rows] = cells
    return among


def among(choice: Choice, rows: Ints, b: int) -> Choice:
    """A choice of some rows as one of all b rows."""
    if len(rows) == b:
        return choice
    columns: dict[str, Any] = {k: spread(v, rows, b) for k, v in vars(choice).items() if isinstance(v, np.ndarray)}
    for name, said in _words(choice).items():
        columns[name] = tuple(spread(np.array(said, dtype=object), rows, b).tolist())
    return replace(choice, **columns)


def _words(choice: Choice) -> dict[str, tuple[str, ...]]:
    """Columns of a choice that are texts."""
    texts = {"text": choice.text, "thought": choice.thought, "refused": choice.refused}
    return {name: said for name, said in texts.items() if said is not None}


def policies(choice: Choice) -> tuple[str, ...] | None:
    """[R] how the policy of a model is known; empty in rows in which none was asked."""
    if choice.policy is None or choice.usage is None:
        return None
    asked: Bools = choice.usage[:, 0] >= 0
    told: Bools = np.full(len(asked), choice.policy == "exact")
    if choice.probs is not None:  # of two models, one may tell its probabilities and one not
        told = np.asarray(~np.isnan(choice.probs).all(axis=(1, 2)))
    return tuple(np.where(asked, np.where(told, "exact", "sampled"), "").tolist())


def identity(value: Any) -> str:
    """The JSON text of a spec, or the repr of an agent: equal values, equal texts."""
    return json.dumps(value.model_dump(mode="json"), sort_keys=True) if isinstance(value, BaseModel) else repr(value)
