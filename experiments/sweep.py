"""Steering vectors tried out: layers and strengths, beside baselines and controls, all on the same luck."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from icrl.envs import Episodes
from icrl.experiments import sweep_settings as settings
from icrl.experiments import vectors
from icrl.experiments.config import Experiment
from icrl.experiments.planned import is_of, keep
from icrl.experiments.progress import Begin
from icrl.experiments.runner import run
from icrl.experiments.sweep_plan import SteeringPlan
from icrl.experiments.sweep_settings import Setting
from icrl.experiments.sweep_table import candidates, measured


@dataclass(frozen=True)
class Swept:
    """What a sweep found.

    Attributes:
        plan: What was tried.
        settings: All of it.
        runs: Episodes by name of the agent.
        table: A row for each setting, see `icrl.experiments.sweep_table`.
        best: Which row is chosen; None if no setting keeps the labels' mass.
    """

    plan: SteeringPlan
    settings: Sequence[Setting]
    runs: Mapping[str, Episodes] = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    best: int | None

    @property
    def steering(self) -> dict[str, Any] | None:
        """The chosen steering, as an experiment file has it."""
        if self.best is None:
            return None
        (agent,) = self.settings[self.best].agents.values()
        found: dict[str, Any] = agent["steering"]
        return found


def sweep(plan: SteeringPlan, out: Path, begin: Begin) -> Swept:
    """Plays a plan's agents into a folder that holds its vectors, skipping what was played before.

    First all layers and strengths, and the baselines; then the controls at the layer of the best setting.

    Raises:
        ValueError: A layer is not there, or the folder holds another sweep.
    """
    tried, begun = [*settings.baselines(plan), *settings.grid(plan, out)], out / "runs" / vectors.PLAN
    if not is_of(begun, plan.swept_on):
        keep(begun, plan.swept_on)
    runs = _play(plan, tried, out / "runs" / "grid", begin)
    table = measured(tried, runs)
    best = _best(plan, table)
    if plan.sweep.controls:
        layer = tried[_nearest(plan, table) if best is None else best].layer
        beside = settings.controls(plan, out, layer)
        runs |= _play(plan, beside, out / "runs" / "controls", begin)
        tried, table = [*tried, *beside], measured([*tried, *beside], runs)
    return Swept(plan, tried, runs, table, best)


def _play(plan: SteeringPlan, tried: Sequence[Setting], out: Path, begin: Begin) -> dict[str, Episodes]:
    """By name of the agent."""
    players = {name: fields for setting in tried for name, fields in setting.agents.items()}
    # Steering may cost label mass; how much is what the sweep measures.
    experiment = Experiment(
        task=plan.task, agents=players, episodes=plan.sweep.episodes, seed=plan.seed + 1, min_mass=0.0
    )
    horizon = experiment.build_task().public.horizon or 0
    return run(experiment, out, begin(out.name, len(players) * experiment.episodes * horizon))


def _best(plan: SteeringPlan, table: pd.DataFrame) -> int | None:
    """The row with the least mean final regret among those that keep the labels' mass."""
    good = candidates(table, plan.fit.method, plan.sweep.min_mass)
    return None if good.empty else int(np.asarray(good["regret"].idxmin()))


def _nearest(plan: SteeringPlan, table: pd.DataFrame) -> int:
    """The row with the most label mass, where none keeps enough; without masses the first."""
    own = table[table["kind"] == plan.fit.method]
    return int(np.asarray(own["mass"].fillna(0).idxmax()))


def told(found: Swept) -> str:
    """Which setting is chosen, by which rule, and what is to be thought of it."""
    plan, tried = found.plan, int((found.table["kind"] == found.plan.fit.method).sum())
    rule = f"label mass and share of readable answers are at least {plan.sweep.min_mass:g}"
    if found.best is None:
        return f"Chosen: none, as there is none among the {tried} steered settings whose {rule}."
    row, kept = found.table.loc[found.best], len(candidates(found.table, plan.fit.method, plan.sweep.min_mass))
    differs = f"{row['diff']:+.2f} [{row['diff_low']:+.2f}, {row['diff_high']:+.2f}] (paired, 95%)"
    where: str = "all layers" if pd.isna(row["layer"]) else f"layer {row['layer']}"
    return (
        f"Chosen: {where} at strength {row['strength']:g} ({row['relative']:.2g} of the residual stream), with the "
        f"least mean final regret among the {kept} of {tried} steered settings whose {rule}; its regret differs from "
        f"that of the unsteered agent by {differs}, but it was chosen on these very episodes, so only fresh ones, of "
        "another seed, can confirm that."
    )


def save(found: Swept, out: Path) -> None:
    """Writes the table as `sweep.csv`, and as `sweep.json` with the chosen steering."""
    found.table.to_csv(out / "sweep.csv", index=False)
    whole = {
        "chosen": found.steering,
        "why": told(found),
        "settings": json.loads(found.table.to_json(orient="records")),
    }
    (out / "sweep.json").write_text(json.dumps(whole, indent=2), encoding="utf-8")
