"""Rows of a run folder's tables, and the columns of `Episodes` that they hold.

Model agents have a row per step, with a cell for each thing that a `Choice` may say and NULL where it says nothing;
classical agents have one per episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icrl.agents.record import Step, policies
from icrl.envs import Episodes
from icrl.envs.episodes import nothing
from icrl.envs.types import USAGE, Ints

SCHEMA = """
CREATE TABLE IF NOT EXISTS steps (
    agent TEXT, episode INTEGER, t INTEGER, arm INTEGER NOT NULL, arm_2 INTEGER, reward REAL, gap REAL,
    ended INTEGER NOT NULL, probs BLOB, mass REAL, mass_2 REAL, policy TEXT, text TEXT, refused TEXT, thought TEXT,
    failed INTEGER, cut INTEGER, fed INTEGER, reused INTEGER, written INTEGER, thinking INTEGER,
    games_dropped INTEGER, steps_dropped INTEGER, ids BLOB,
    PRIMARY KEY (agent, episode, t)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS episodes (
    agent TEXT, episode INTEGER, ended INTEGER NOT NULL, arms BLOB, rewards BLOB, gap BLOB, probs BLOB,
    PRIMARY KEY (agent, episode)
) WITHOUT ROWID;
"""
RUNNING, TRUNCATED, TERMINATED = range(3)
SLOTS = 2
"""Most arms of one choice that a row of `steps` has cells for."""
COUNTED = ("fed", "written", "thinking")
"""Tokens that an experiment's `tokens` are spent on: what a cache has read costs nothing."""

Cells = Mapping[str, Sequence[Any]]
_WIDE = {
    "arm": ("arm", "arm_2"),
    "mass": ("mass", "mass_2"),
    "usage": USAGE,
    "dropped": ("games_dropped", "steps_dropped"),
}
"""Numbers that stand in several cells of a row."""
_KINDS: dict[str, Any] = {
    **{"mass": np.float64, "failed": np.int64, "cut": np.int64, "usage": np.int64, "dropped": np.int64},
    **{"policy": np.str_, "text": np.str_, "refused": np.str_, "thought": np.str_},
}
_BLOBS: dict[str, Any] = {"probs": np.float64, "ids": np.int64}
_WHOLE: dict[str, Any] = {"arms": np.int64, "rewards": np.float64, "gap": np.float64, "probs": np.float64}
"""What a row of `episodes` keeps of all its steps."""


def of_step(agent: str, episodes: Ints, step: Step) -> dict[str, Sequence[Any]]:
    """The rows of one lockstep step, by column; what the choice does not say is left out."""
    choice, outcome = step.choice, step.outcome
    ended = np.where(outcome.terminated, TERMINATED, np.where(outcome.truncated, TRUNCATED, RUNNING))
    cells: dict[str, Sequence[Any]] = {"agent": [agent] * len(ended), "episode": episodes[step.rows].tolist()}
    cells |= {"t": step.view.t.tolist(), "ended": ended.tolist()}
    cells |= {"reward": outcome.reward.tolist(), "gap": step.truth.gap.tolist()}
    for name in ("arm", *_KINDS, *_BLOBS):
        if (said := policies(choice) if name == "policy" else getattr(choice, name)) is not None:
            cells |= _said(name, said)
    return cells


def _said(name: str, said: Any) -> dict[str, Sequence[Any]]:
    """The cells of one field of a choice."""
    if name in _BLOBS:
        return {name: [row.tobytes() for row in said.astype(_BLOBS[name])]}
    if name in _WIDE:
        return dict(zip(_WIDE[name], said.T.tolist(), strict=False))  # most choices name one arm
    return {name: said.tolist() if isinstance(said, np.ndarray) else said}


def of_episodes(agent: str, played: Episodes) -> dict[str, Sequence[Any]]:
    """The rows of whole episodes, by column."""
    over = np.zeros(len(played)) if played.terminated is None else played.terminated
    cells: dict[str, Sequence[Any]] = {"agent": [agent] * len(played), "episode": played.episode.tolist()}
    cells |= {"ended": np.where(over, TERMINATED, TRUNCATED).tolist()}
    for name in _WHOLE:
        if (column := getattr(played, name)) is not None:
            steps = zip(column, played.lengths.tolist(), strict=True)
            cells[name] = [np.ascontiguousarray(row[:length], _WHOLE[name]).tobytes() for row, length in steps]
    return cells


def from_steps(cells: Cells, row_of: Mapping[int, int], n_arms: int, slots: int) -> dict[str, Any]:
    """Columns [B, T] from rows of steps, by the names of their cells; padded with -1 and NaN."""
    at = np.array([row_of[e] for e in cells["episode"]]), np.array(cells["t"])
    shape = (len(row_of), int(at[1].max()) + 1)
    over = np.array(cells["ended"]) == TERMINATED
    columns = {
        "arms": _joined(shape, at, cells, _WIDE["arm"][:slots], np.int64),
        "rewards": _filled(shape, at, cells["reward"], np.float64),
        "gap": _filled(shape, at, cells["gap"], np.float64),
        "lengths": np.bincount(at[0], minlength=len(row_of)),
        "terminated": np.bincount(at[0], over, minlength=len(row_of)) > 0,
    }
    for name, kind in _KINDS.items():
        parts = _WIDE["mass"][:slots] if name == "mass" else _WIDE.get(name, (name,))
        if any(_some(cells[part]) for part in parts):
            columns[name] = _joined(shape, at, cells, parts, kind)
    columns |= {name: _unpacked(shape, at, cells[name], kind) for name, kind in _BLOBS.items() if _some(cells[name])}
    if slots > 1 and "probs" in columns:
        columns["probs"] = columns["probs"].reshape(*shape, slots, n_arms)
    return columns


def from_episodes(cells: Cells, row_of: Mapping[int, int], n_arms: int, slots: int) -> dict[str, NDArray[Any]]:
    """The same from rows of whole episodes."""
    rows, lengths = np.array([row_of[e] for e in cells["episode"]]), np.zeros(len(row_of), np.int64)
    lengths[rows] = [len(blob) // 8 for blob in cells["rewards"]]
    shape = (len(row_of), int(lengths.max(initial=0)))
    row, t = np.nonzero(np.arange(shape[1]) < lengths[rows, None])
    pair = (slots,) if slots > 1 else ()
    axes: dict[str, tuple[int, ...]] = {"arms": pair, "probs": (*pair, n_arms)}
    columns = {"lengths": lengths, "terminated": np.zeros(len(row_of), np.bool_)}
    columns["terminated"][rows] = np.array(cells["ended"]) == TERMINATED
    for name, kind in _WHOLE.items():
        if _some(cells[name]):
            own = axes.get(name, ())
            flat = np.frombuffer(b"".join(cells[name]), kind).reshape(-1, *own)
            columns[name] = _filled((*shape, *own), (rows[row], t), flat, kind)
    return columns


def _some(values: Sequence[Any]) -> bool:
    """Whether anything is stored; a hybrid may fill a column at some steps only."""
    return any(value is not None for value in values)


def _filled(shape: tuple[int, ...], at: Any, values: Any, kind: Any) -> Any:
    """A rectangle that holds `values` at the cells `at`, and nothing elsewhere or where they are NULL."""
    if isinstance(values, tuple):
        empty = {np.int64: -1, np.str_: ""}.get(kind, np.nan)
        values = [empty if value is None else value for value in values]
    flat = np.array(values, kind)
    out = nothing(shape, flat.dtype)
    out[at] = flat
    return out


def _joined(shape: tuple[int, ...], at: Any, cells: Cells, parts: Sequence[str], kind: Any) -> Any:
    """The same for numbers that stand in several cells: they get an axis, the last one."""
    filled = [_filled(shape, at, cells[part], kind) for part in parts]
    return filled[0] if len(filled) == 1 else np.stack(filled, axis=-1)


def _unpacked(shape: tuple[int, ...], at: Any, blobs: Sequence[bytes | None], kind: Any) -> Any:
    """The same for cells that are arrays, stored as bytes."""
    width = max(len(blob) for blob in blobs if blob is not None) // 8
    empty = nothing((width,), np.dtype(kind)).tobytes()
    whole = ((blob or b"") + empty[len(blob or b"") :] for blob in blobs)  # some may be shorter
    flat = np.frombuffer(b"".join(whole), kind).reshape(-1, width)
    return _filled((*shape, width), at, flat, kind)
