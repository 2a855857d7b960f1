"""The run folder: one SQLite file that survives a kill at any moment.

A write-ahead log and one transaction per lockstep step (model agents) or per block of whole episodes (classical
agents). Agents' states are not stored: they are folded again from the steps. One process writes at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from icrl.agents.record import Step
from icrl.envs import Episodes
from icrl.envs.types import Ints, Names
from icrl.experiments.cells import COUNTED, SCHEMA, Cells, from_episodes, from_steps, of_episodes, of_step
from icrl.models.load import URLS

FILE = "run.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS agents (name TEXT PRIMARY KEY, identity TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS names (agent TEXT, episode INTEGER, labels TEXT NOT NULL, PRIMARY KEY (agent, episode));
"""
_FORMAT = 4
"""Of the tables; raised whenever they change."""
_FREE = ("batch", "min_mass", "tokens", "prices")
"""Keys of an experiment that may change between two runs into one folder."""


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
            store.db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA + SCHEMA)
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
        nothing = f"run: there is no run in {folder}; `icrl run EXPERIMENT --out {folder}` makes one"
        if not file.is_file():
            raise ValueError(nothing)
        store = cls(Path(folder), sqlite3.connect(file, isolation_level=None), None)
        try:
            if store.meta("experiment") is None:  # the process that made it was stopped at once
                raise ValueError(nothing)
            store._of_this_version("run")
        except sqlite3.DatabaseError as error:
            store.close()
            raise ValueError(f"run: {file} is no run, or it is damaged: {error}") from error
        except ValueError:
            store.close()
            raise
        return store

    def _claim(self, meta: Mapping[str, Any]) -> None:
        """Writes the experiment into a new folder; compares it in an old one, where what may change is written anew."""
        found = self.meta("experiment")
        if found is None:
            rows = [(key, json.dumps(value)) for key, value in meta.items()]  # the order of agents matters
            self.db.execute("BEGIN")
            self.db.execute(f"PRAGMA user_version = {_FORMAT}")
            self.db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
            self.db.execute("COMMIT")
            return
        self._of_this_version("out")
        given = json.loads(json.dumps(meta["experiment"]))
        wanted, known = given | {"task as built": meta["task"]}, found | {"task as built": self.meta("task")}
        for key in wanted:
            if key not in _FREE and _placeless(wanted[key]) != _placeless(known.get(key)):
                raise ValueError(
                    f"out: {self.folder} holds another experiment: its {key} is {known.get(key)!r}, now it is "
                    f"{wanted[key]!r}; give another folder, or the experiment that began there"
                )
        now = found | {key: given[key] for key in (*_FREE, "agents") if key in given}
        self.db.execute("UPDATE meta SET value = ? WHERE key = 'experiment'", (json.dumps(now),))

    def _of_this_version(self, where: str) -> None:
        """Raises ValueError if another version of icrl wrote the tables in another way."""
        if self.db.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
            raise ValueError(
                f"{where}: {self.folder} was written by icrl {self.meta('versions').get('icrl')} in another format; "
                "read it with that version, or run into another folder"
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
        self._insert("steps", of_step(agent, episodes, step))

    def add_episodes(self, agent: str, played: Episodes) -> None:
        """Whole episodes, in one transaction."""
        self._insert("episodes", of_episodes(agent, played))

    def _insert(self, table: str, cells: Cells) -> None:
        """Rows by column, in one transaction."""
        into, marks = ",".join(cells), ",".join("?" * len(cells))
        self.db.execute("BEGIN")
        self.db.executemany(f"INSERT INTO {table} ({into}) VALUES ({marks})", zip(*cells.values(), strict=True))
        self.db.execute("COMMIT")

    def tokens(self) -> int:
        """Tokens that models have read and written in this folder, thoughts too."""
        counted = " + ".join(f"max({name}, 0)" for name in COUNTED)
        return int(self.db.execute(f"SELECT total({counted}) FROM steps").fetchone()[0])

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
        """What is stored of these episodes, as the columns of `Episodes`, padded with -1 and NaN.

        Columns are [B, T], and with several slots arms and mass are [B, T, slots], probs [B, T, slots, K].
        """
        row_of = {e: b for b, e in enumerate(episodes.tolist())}
        if steps := self._among("steps", agent, episodes):
            return from_steps(steps, row_of, n_arms, slots)
        return from_episodes(self._among("episodes", agent, episodes), row_of, n_arms, slots)

    def _among(self, table: str, agent: str, episodes: Ints) -> dict[str, tuple[Any, ...]]:
        """The columns of a table's rows of these episodes, in the order of its key; nothing if there are no rows."""
        query = f"SELECT * FROM {table} WHERE agent = ? AND episode IN (SELECT value FROM json_each(?))"
        found = self.db.execute(query, (agent, json.dumps(episodes.tolist())))
        return dict(zip((name for name, *_ in found.description), zip(*found.fetchall(), strict=True), strict=False))


def _placeless(value: Any) -> Any:
    """A part of an experiment without where its servers stand and how they are asked.

    That is no part of what plays: a model is known by what `Store.register` compares.
    """
    if isinstance(value, list):
        return [_placeless(part) for part in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _placeless(part) for key, part in value.items() if key != "server"}
    return kept | ({"model": URLS[0]} if str(value.get("model")).startswith(URLS) else {})
