"""The run folder: one SQLite file that survives a kill at any moment.

A write-ahead log and one transaction per lockstep step (model agents) or per block of whole episodes (classical
agents). Agents' states are not stored: they are folded again from the steps. One process writes at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout

from icrl.agents.record import Step
from icrl.envs import Episodes
from icrl.envs.episodes import nothing
from icrl.envs.types import Ints, Names

FILE = "run.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS agents (name TEXT PRIMARY KEY, identity TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS names (agent TEXT, episode INTEGER, labels TEXT NOT NULL, PRIMARY KEY (agent, episode));
CREATE TABLE IF NOT EXISTS steps (
    agent TEXT, episode INTEGER, t INTEGER, arm INTEGER NOT NULL, reward REAL, gap REAL, ended INTEGER NOT NULL,
    probs BLOB, mass REAL, text TEXT, failed INTEGER, fed INTEGER, reused INTEGER, generated INTEGER,
    ids BLOB,
    PRIMARY KEY (agent, episode, t)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS episodes (
    agent TEXT, episode INTEGER, ended INTEGER NOT NULL, arms BLOB, rewards BLOB, gap BLOB, probs BLOB,
    PRIMARY KEY (agent, episode)
) WITHOUT ROWID;
"""
RUNNING, TRUNCATED, TERMINATED = range(3)


class Store:
    """One run folder, open for writing (`Store.create`) or reading (`Store.read`)."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: FileLock | None) -> None:
        """Use `create` or `read`."""
        self.folder, self.db, self._lock = folder, connection, lock

    @classmethod
    def create(
        cls, folder: str | Path, experiment: Mapping[str, Any], versions: Mapping[str, str], task: str = ""
    ) -> Self:
        """Opens a new folder, or the folder of the same experiment to continue it.

        Args:
            folder: Where.
            experiment: The file, as a mapping.
            versions: Of what plays.
            task: What the experiment's task was built to: code that it names by an import path may change.

        Raises:
            ValueError: The folder holds another experiment or something else, or another process writes to it.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"out: {folder} cannot be made a folder: {error.strerror}") from error
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ValueError(
                f"out: another process is writing to {folder}; wait for it, or give another folder"
            ) from error
        store = cls(folder, sqlite3.connect(folder / FILE, isolation_level=None), lock)
        try:
            store.db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
            store._claim({"experiment": experiment, "versions": dict(versions), "task": task})
        except sqlite3.DatabaseError as error:
            store.close()
            raise ValueError(f"out: {folder / FILE} is no run, or it is damaged: {error}") from error
        except ValueError:
            store.close()
            raise
        return store

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Opens a folder to look at it.

        Raises:
            ValueError: There is no run in it.
        """
        file = Path(folder) / FILE
        if not file.is_file():
            raise ValueError(f"run: there is no run in {folder}; `icrl run EXPERIMENT --out {folder}` makes one")
        store = cls(Path(folder), sqlite3.connect(file, isolation_level=None), None)
        try:
            store.meta("experiment")
        except sqlite3.DatabaseError as error:
            store.close()
            raise ValueError(f"run: {file} is no run, or it is damaged: {error}") from error
        return store

    def _claim(self, meta: Mapping[str, Any]) -> None:
        """Writes the experiment into a new folder; compares it in an old one."""
        found = self.meta("experiment")
        if found is None:
            rows = [(key, json.dumps(value)) for key, value in meta.items()]  # the order of agents matters
            self.db.execute("BEGIN")
            self.db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
            self.db.execute("COMMIT")
            return
        wanted = json.loads(json.dumps(meta["experiment"])) | {"task as built": meta["task"]}
        found["task as built"] = self.meta("task")
        for key in wanted:
            if key != "batch" and wanted[key] != found.get(key):
                raise ValueError(
                    f"out: {self.folder} holds another experiment: its {key} is {found.get(key)!r}, now it is "
                    f"{wanted[key]!r}; give another folder, or the experiment that began there"
                )

    def meta(self, key: str) -> Any:
        """`experiment`, `versions` or `task`, as stored; None in a new folder."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def register(self, agent: str, identity: str, facts: Mapping[str, str]) -> None:
        """Writes down what an agent is, or makes sure that it still is what it was.

        Raises:
            ValueError: The agent has changed (its code, weights, template or tokenizer) since this folder was begun.
        """
        self.db.execute("INSERT OR IGNORE INTO agents VALUES (?, ?, ?)", (agent, identity, json.dumps(dict(facts))))
        if (known := self.identity(agent)) != identity:
            raise ValueError(
                f"out: agent {agent!r} is not what it was when {self.folder} was begun: {known} then, {identity} now"
            )

    def identity(self, agent: str) -> str:
        """What an agent was when it was registered."""
        return str(self.db.execute("SELECT identity FROM agents WHERE name = ?", (agent,)).fetchone()[0])

    def facts(self) -> dict[str, dict[str, str]]:
        """What is known of each agent's model."""
        return {name: json.loads(facts) for name, facts in self.db.execute("SELECT name, facts FROM agents")}

    def close(self) -> None:
        """Closes the file and lets others write."""
        self.db.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_names(self, agent: str, episodes: Ints, names: Names | None) -> None:
        """Labels that these episodes show."""
        if names is not None:
            rows = ((agent, e, json.dumps(row)) for e, row in zip(episodes.tolist(), names, strict=True))
            self.db.execute("BEGIN")
            self.db.executemany("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", rows)
            self.db.execute("COMMIT")

    def add_step(self, agent: str, episodes: Ints, step: Step) -> None:
        """One lockstep step, in one transaction."""
        n, choice = len(step.rows), step.choice
        empty: list[None] = [None] * n
        columns: tuple[Sequence[Any], ...] = (
            [agent] * n,
            episodes[step.rows].tolist(),
            step.view.t.tolist(),
            choice.arm[:, 0].tolist(),
            step.outcome.reward.tolist(),
            step.truth.gap.tolist(),
            np.where(
                step.outcome.terminated, TERMINATED, np.where(step.outcome.truncated, TRUNCATED, RUNNING)
            ).tolist(),
            empty if choice.probs is None else [row.tobytes() for row in choice.probs[:, 0].astype(np.float64)],
            empty if choice.mass is None else choice.mass[:, 0].tolist(),
            empty if choice.text is None else choice.text,
            empty if choice.failed is None else choice.failed.tolist(),
            *([empty] * 3 if choice.usage is None else choice.usage.T.tolist()),
            empty if choice.ids is None else [row.tobytes() for row in choice.ids.astype(np.int64)],
        )
        self.db.execute("BEGIN")
        self.db.executemany(f"INSERT INTO steps VALUES ({','.join('?' * 15)})", zip(*columns, strict=True))
        self.db.execute("COMMIT")

    def add_episodes(self, agent: str, played: Episodes) -> None:
        """Whole episodes, in one transaction."""
        over = np.zeros(len(played)) if played.terminated is None else played.terminated
        ended = np.where(over, TERMINATED, TRUNCATED).tolist()
        rows = []
        for b, (episode, length) in enumerate(zip(played.episode.tolist(), played.lengths.tolist(), strict=True)):
            columns = (played.arms, played.rewards, played.gap, played.probs)
            blobs = (None if c is None else np.ascontiguousarray(c[b, :length]).tobytes() for c in columns)
            rows.append((agent, episode, ended[b], *blobs))
        self.db.execute("BEGIN")
        self.db.executemany("INSERT INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self.db.execute("COMMIT")

    def progress(self, agent: str) -> dict[int, tuple[int, bool]]:
        """For each episode that was begun: steps stored, and whether it has ended."""
        whole = self.db.execute("SELECT episode, length(rewards) / 8, 1 FROM episodes WHERE agent = ?", (agent,))
        steps = "SELECT episode, count(*), max(ended) > 0 FROM steps WHERE agent = ? GROUP BY episode"
        return {e: (n, bool(over)) for e, n, over in [*whole, *self.db.execute(steps, (agent,))]}

    def labels(self, agent: str, episodes: Ints) -> Names | None:
        """The labels that these episodes show; None for agents that show none."""
        found = dict(self.db.execute("SELECT episode, labels FROM names WHERE agent = ?", (agent,)))
        return tuple(tuple(json.loads(found[e])) for e in episodes.tolist()) if found else None

    def columns(self, agent: str, episodes: Ints, n_arms: int, slots: int = 1) -> dict[str, Any]:
        """What is stored of these episodes, as the columns of `Episodes`; [B, T], padded with -1 and NaN."""
        row_of = {e: b for b, e in enumerate(episodes.tolist())}
        found = self._among("steps", agent, episodes)
        if not found:
            return self._whole(self._among("episodes", agent, episodes), row_of, n_arms, slots)
        _, e, t, arm, reward, gap, ended, probs, mass, text, failed, *usage, ids = zip(*found, strict=True)
        at = (np.array([row_of[x] for x in e]), np.array(t))
        shape = (len(episodes), int(at[1].max()) + 1)
        columns: dict[str, Any] = {
            "arms": _filled(shape, at, arm, np.int64),
            "rewards": _filled(shape, at, reward, np.float64),
            "gap": _filled(shape, at, gap, np.float64),
            "lengths": np.bincount(at[0], minlength=len(episodes)),
            "terminated": np.bincount(at[0], np.array(ended) == TERMINATED, minlength=len(episodes)) > 0,
        }
        extras = (("mass", mass, np.float64), ("failed", failed, np.int64), ("text", text, np.str_))
        columns |= {name: _filled(shape, at, values, kind) for name, values, kind in extras if _some(values)}
        if _some(usage[0]):
            columns["usage"] = np.stack([_filled(shape, at, column, np.int64) for column in usage], axis=2)
        for name, blobs, kind in (("probs", probs, np.float64), ("ids", ids, np.int64)):
            if _some(blobs):
                columns[name] = _unpacked(shape, at, blobs, kind)
        return columns

    def _among(self, table: str, agent: str, episodes: Ints) -> list[tuple[Any, ...]]:
        """The stored rows of these episodes, in the order of the table's key."""
        query = f"SELECT * FROM {table} WHERE agent = ? AND episode IN (SELECT value FROM json_each(?))"
        return self.db.execute(query, (agent, json.dumps(episodes.tolist()))).fetchall()

    @staticmethod
    def _whole(rows: list[tuple[Any, ...]], row_of: Mapping[int, int], n_arms: int, slots: int) -> dict[str, Any]:
        """The same for an agent whose episodes are stored whole."""
        rows = sorted(rows, key=lambda row: row_of[row[1]])
        lengths = np.array([len(row[4]) // 8 for row in rows])
        pair = (slots,) if slots > 1 else ()
        at = np.nonzero(np.arange(lengths.max(initial=0)) < lengths[:, None])
        shape = (len(rows), int(lengths.max(initial=0)))
        *blobs, probs = list(zip(*rows, strict=True))[3:]
        arms, rewards, gap = (b"".join(column) for column in blobs)
        columns = {
            "arms": _filled((*shape, *pair), at, np.frombuffer(arms, np.int64).reshape(-1, *pair), np.int64),
            "rewards": _filled(shape, at, np.frombuffer(rewards), np.float64),
            "gap": _filled(shape, at, np.frombuffer(gap), np.float64),
            "lengths": lengths,
            "terminated": np.array([row[2] == TERMINATED for row in rows]),
        }
        if _some(probs):
            flat = np.frombuffer(b"".join(probs)).reshape(-1, *pair, n_arms)
            columns["probs"] = _filled((*shape, *pair, n_arms), at, flat, np.float64)
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


def _unpacked(shape: tuple[int, ...], at: Any, blobs: Sequence[bytes | None], kind: Any) -> Any:
    """The same for cells that are arrays, stored as bytes."""
    width = max(len(blob) for blob in blobs if blob is not None) // 8
    empty = nothing((width,), np.dtype(kind)).tobytes()
    flat = np.frombuffer(b"".join(empty if blob is None else blob for blob in blobs), kind).reshape(-1, width)
    return _filled((*shape, width), at, flat, kind)
