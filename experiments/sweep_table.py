"""What a sweep measures: a row for each setting, with bootstrap intervals over episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from icrl.envs import Episodes
from icrl.envs.types import Floats
from icrl.experiments import measures
from icrl.experiments.bootstrap import interval
from icrl.experiments.sweep_settings import UNSTEERED, Setting

Measure = Callable[[Episodes], Floats]
"""Gives [B], one number per episode."""


def _known(steps: Floats) -> Floats:
    """[B] the mean of the steps [B, T] that have a number; NaN where none has."""
    there = ~np.isnan(steps)
    total, count = np.where(there, steps, 0.0).sum(axis=1), there.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


MEASURES: dict[str, Measure] = {
    "entropy": lambda runs: _known(measures.action_entropy(runs)),
    "mass": lambda runs: _known(measures.label_mass(runs)),
    "valid": lambda runs: 1 - measures.invalid_rate(runs),
    "regret": measures.final_regret,
    "suffix_failure": lambda runs: measures.suffix_failure(runs).astype(np.float64),
}
"""Mean entropy of the policy in nats, label mass, share of readable answers, final regret, suffix failure."""


def measured(settings: Sequence[Setting], runs: Mapping[str, Episodes]) -> pd.DataFrame:
    """A row for each setting.

    Args:
        settings: What was played; the one called `unsteered` among them.
        runs: Episodes by name of the agents.

    Returns:
        `kind`, `level`, `layer`, `strength`, `relative` (see `Setting`), each of MEASURES with `_low` and `_high`, and
        `diff` with its interval: the paired difference of the final regret from that of the unsteered agent. Of several
        agents, the mean of each episode. NaN where a measure is not known.
    """
    base = values([runs[UNSTEERED]], MEASURES["regret"])
    rows = []
    for setting in settings:
        own = [runs[name] for name in setting.agents]
        found = {name: values(own, measure) for name, measure in MEASURES.items()}
        if setting.kind != UNSTEERED:
            found["diff"] = found["regret"] - base
        told = {key: getattr(setting, key) for key in ("kind", "level", "layer", "strength", "relative")}
        rows.append(told | {key: x for name, each in found.items() for key, x in _interval(name, each).items()})
    return pd.DataFrame(rows).astype({"layer": "Int64"})


def values(runs: Sequence[Episodes], measure: Measure) -> Floats:
    """[B] the mean over several agents; NaN where they have no such measure."""
    try:
        return np.asarray(np.mean([measure(run) for run in runs], axis=0))
    except measures.MissingColumn:
        return np.full(len(runs[0]), np.nan)


def _interval(name: str, each: Floats) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval(np.mean, each), strict=True))


def candidates(table: pd.DataFrame, method: str, min_mass: float) -> pd.DataFrame:
    """Rows of a method whose label mass and share of readable answers, as far as they are known, are enough."""
    good = (table["kind"] == method) & table["regret"].notna()
    for name in ("mass", "valid"):
        good &= table[name].isna() | (table[name] >= min_mass)
    return table[good]
