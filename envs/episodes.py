"""`Episodes`: finished (or cut) episodes as columns, never an object per step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from icrl.envs.types import Bools, Floats, Ints, Names, Public, View

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

_JSON = ("task", "agent", "seed", "public", "names")
Texts = NDArray[np.str_]


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """B episodes of at most T steps by one agent on one task.

    Cells past `lengths`, and failed choices, hold arm -1 and NaN. Columns that an agent or a task does not
    have are None. `means` and `best_arm` exist for stationary bandits only.
    """

    task: str
    """The task as JSON; two runs are paired only if task and seed agree."""
    agent: str
    seed: int
    public: Public
    episode: Ints
    """[B] index of each episode: the same index is the same luck."""
    arms: Ints
    """[B, T], or [B, T, slots] where a choice names several arms."""
    rewards: Floats
    """[B, T]"""
    gap: Floats
    """[B, T] instantaneous regret."""
    lengths: Ints
    """[B] steps played."""
    names: Names | None = None
    """[B][K] labels that the agent was shown."""
    probs: Floats | None = None
    """[B, T, K] the policy after temperature."""
    mass: Floats | None = None
    """[B, T] probability of the labels before masking."""
    policy: Texts | None = None
    """[B, T] `exact` where a model's policy was read, `sampled` where it only drew; empty where no model was asked."""
    failed: Ints | None = None
    """[B, T] unreadable answers before the step was taken."""
    usage: Ints | None = None
    """[B, T, 4] tokens, in the order of `icrl.envs.types.USAGE`; -1 where no model was asked."""
    text: Texts | None = None
    """[B, T] what stands in the history for the choice."""
    ids: Ints | None = None
    """[B, T, W] its tokens, if the model wrote it freely; filled up with -1."""
    refused: Texts | None = None
    """[B, T] the answers that could not be read, as a JSON list; empty where there were none."""
    thought: Texts | None = None
    """[B, T] what the model thought before it answered."""
    cut: Ints | None = None
    """[B, T] 1 where a thought found no end and was closed by force, else 0."""
    dropped: Ints | None = None
    """[B, T, 2] demonstrations and past steps that a prompt left out, to keep its budget."""
    trial: Ints | None = None
    """[B, T] which game of the episode, where one has several."""
    context: Floats | None = None
    """[B, T, d] or [B, T, K, d] what was seen before each choice."""
    legal: Bools | None = None
    """[B, T, K] arms that could be chosen, where some were missing."""
    obs: Texts | None = None
    """[B, T] what was seen, in words."""
    terminated: Bools | None = None
    """[B] ended by the task itself rather than by the horizon."""
    means: Floats | None = None
    """[B, K]; NaN for arms that an episode does not have."""
    best_arm: Ints | None = None
    """[B]"""

    def __len__(self) -> int:
        return len(self.episode)

    @property
    def horizon(self) -> int:
        """T, the length of the longest episode."""
        return int(self.arms.shape[1])

    def named(self, names: Names | None) -> Self:
        """The same play told with other labels: what was said with the former ones goes with them."""
        return self if names == self.names else replace(self, names=names, text=None, ids=None, thought=None)

    def columns(self) -> dict[str, Any]:
        """The array columns that are present."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _JSON}
        return {k: v for k, v in values.items() if v is not None}

    def take(self, rows: Bools | Ints | slice) -> Self:
        """The episodes at `rows`, in that order."""
        names = None
        if self.names is not None:
            names = tuple(self.names[i] for i in np.arange(len(self))[rows])
        return replace(self, names=names, **{k: v[rows] for k, v in self.columns().items()})

    def view(self, rows: Ints, t: Ints) -> View:
        """What was seen before steps t [R] of the episodes at `rows` [R]."""
        legal = np.ones((len(rows), self.public.n_arms), np.bool_) if self.legal is None else self.legal[rows, t]
        context = None if self.context is None else self.context[rows, t]
        obs = None if self.obs is None else tuple(self.obs[rows, t].tolist())
        trial = np.zeros(len(rows), np.int64) if self.trial is None else self.trial[rows, t]
        return View(self.episode[rows], t, trial, legal, context, obs)

    def save(self, path: str | Path) -> Path:
        """Writes one `.npz` file (arrays, and the rest as JSON); returns its path."""
        path = Path(f"{path}".removesuffix(".npz") + ".npz")
        rest = {k: getattr(self, k) for k in _JSON} | {"public": vars(self.public)}
        np.savez_compressed(path, _json=np.array(json.dumps(rest)), **self.columns())
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ValueError: The file is not one of ours.
        """
        foreign = f"path: {path} holds no Episodes; give a file written by Episodes.save"
        try:
            opened = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{foreign} ({error})") from error
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise ValueError(foreign)
        with opened as file:
            if "_json" not in file:
                raise ValueError(foreign)
            rest = json.loads(str(file["_json"]))
            columns: dict[str, Any] = {k: file[k] for k in file.files if k != "_json"}
        rest["public"] = Public(**rest["public"])
        if rest["names"] is not None:
            rest["names"] = tuple(tuple(row) for row in rest["names"])
        return cls(**rest, **columns)

    def to_pandas(self) -> pd.DataFrame:
        """One row per step played: episode, t, arm, reward, gap; label, and what else is known.

        A duel has `arm_2` and `label_2`, too; of `mass` it has that of the first answer.
        """
        import pandas as pd

        b, t = np.nonzero(np.arange(self.horizon) < self.lengths[:, None])
        table: dict[str, Any] = {"episode": self.episode[b], "t": t, "arm": self.arms[b, t]}
        if self.arms.ndim == 3:
            table |= {"arm": self.arms[b, t, 0], "arm_2": self.arms[b, t, 1]}
        table |= {"reward": self.rewards[b, t], "gap": self.gap[b, t]}
        for name in ("mass", "policy", "failed", "refused", "text", "thought", "cut", "trial"):
            if (column := getattr(self, name)) is not None:
                table[name] = column[b, t] if column.ndim == 2 else column[b, t, 0]
        for arm in [name for name in table if name.startswith("arm")] if self.names is not None else ():
            chosen = np.array(self.names)[b, np.maximum(table[arm], 0)]
            table[arm.replace("arm", "label")] = np.where(table[arm] < 0, "", chosen)
        return pd.DataFrame(table)

    def to_dataset(self) -> Dataset:
        """`to_pandas` as a Hugging Face dataset."""
        from datasets import Dataset

        return Dataset.from_pandas(self.to_pandas(), preserve_index=False)

    def to_obp(self) -> dict[str, Any]:
        """The log as `bandit_feedback` of the Open Bandit Pipeline (Saito et al. 2021), one round per arm chosen.

        Rounds are the steps of the first episode, then of the second, and so on, without forfeited steps.

        Returns:
            n_rounds N and n_actions K; context [N, dim] (the vectors of all arms in one row where each arm has its
            own, a column of ones where there is none); action, position (all 0), reward and pscore, [N] each;
            expected_reward [N, K], None for tasks without `means`.

        Raises:
            ValueError: The runs have no `probs`, or a step chooses several arms.
        """
        from icrl.envs.obp import feedback

        return feedback(self)


def join(parts: Sequence[Episodes]) -> Episodes:
    """Stacks runs of one agent on one task; shorter parts, and columns that one lacks, are filled with -1 and NaN."""
    if not parts:
        raise ValueError("parts: at least one Episodes is needed, got none")
    for name in ("task", "agent", "seed", "public"):
        if differing := [p for p in parts if getattr(p, name) != getattr(parts[0], name)]:
            found = getattr(parts[0], name), getattr(differing[0], name)
            raise ValueError(f"parts: all must have the same {name}, got {found[0]!r} and {found[1]!r}")
    horizon = max(p.horizon for p in parts)
    columns: dict[str, Any] = {}
    for name, column in {name: column for p in parts for name, column in p.columns().items()}.items():
        long = column.ndim >= 2 and name != "means"
        known = [getattr(p, name) for p in parts]
        if name == "ids":
            known = widened(known)
            column = next(c for c in known if c is not None)
        shapes = [(len(p), *((p.horizon, *column.shape[2:]) if long else column.shape[1:])) for p in parts]
        stacked = [nothing(s, column.dtype) if c is None else c for c, s in zip(known, shapes, strict=True)]
        columns[name] = np.concatenate([_pad(c, horizon) for c in stacked] if long else stacked)
    names = None if parts[0].names is None else tuple(row for p in parts for row in p.names or ())
    return replace(parts[0], names=names, **columns)


def _pad(column: NDArray[Any], horizon: int) -> NDArray[Any]:
    missing = horizon - column.shape[1]
    if not missing:
        return column
    return np.concatenate([column, nothing((len(column), missing, *column.shape[2:]), column.dtype)], axis=1)


def widened(columns: Sequence[NDArray[Any] | None]) -> list[Any]:
    """Tokens of answers, filled up with -1 to one width: two models of a hybrid may write at different lengths."""
    width = max(c.shape[-1] for c in columns if c is not None)
    return [c if c is None else _wide(c, width) for c in columns]


def _wide(column: NDArray[Any], width: int) -> NDArray[Any]:
    more = [(0, 0)] * (column.ndim - 1) + [(0, width - column.shape[-1])]
    return np.pad(column, more, constant_values=-1) if column.shape[-1] < width else column


def nothing(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Cells of which nothing is known: NaN, -1, an empty text or False, by their type."""
    fill: Any = {"f": np.nan, "i": -1, "O": "", "U": "", "b": False}[dtype.kind]
    return np.full(shape, fill, dtype)
