"""What is written down of play: steps become the columns of `Episodes`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from icrl.agents.base import AnyAgent
from icrl.envs.episodes import Episodes
from icrl.envs.types import AnyWorld, Choice, Ints, Names, Outcome, Truth, View


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
    for step in steps:  # nothing of a step is kept but its cells: views are large
        for name, cells in _cells(step).items():
            if t == 0:
                played[name] = np.empty((task.public.horizon or 64, b, *cells.shape[1:]), cells.dtype)
            elif t == len(played[name]):
                played[name] = np.resize(played[name], (2 * t, *played[name].shape[1:]))
            played[name][t] = spread(cells, step.rows, b)
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


def spread(cells: NDArray[Any], rows: Ints, b: int) -> NDArray[Any]:
    """The cells [R, ...] of live rows among all b rows; the others hold NaN, -1 or an empty text."""
    if len(rows) == b:
        return cells
    fill: Any = {"f": np.nan, "i": -1, "O": ""}[cells.dtype.kind]
    among = np.full((b, *cells.shape[1:]), fill, cells.dtype)
    among[rows] = cells
    return among


def identity(value: Any) -> str:
    """The JSON text of a spec, or the repr of an agent: equal values, equal texts."""
    return json.dumps(value.model_dump(mode="json"), sort_keys=True) if isinstance(value, BaseModel) else repr(value)
