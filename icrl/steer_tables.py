"""Tables of `icrl steer`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import yaml
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from icrl.models import SteeringVector

_MEASURES = {"entropy": "entropy", "mass": "label\nmass", "valid": "read-\nable", "suffix_failure": "suffix\nfailure"}


def vectors(own: Sequence[SteeringVector], times: Sequence[float]) -> Table:
    """What was fitted.

    Args:
        own: A vector for each layer, or one for all.
        times: Their cosines with the direction of time, as far as there is one.
    """
    table = Table(title=escape(f"{own[0].origin.method}, {own[0].origin.runs} episodes"), box=SIMPLE_HEAD)
    for head in ("layer", "norm", "residual", "unit", "mean entropy", "prompts", "time"):
        table.add_column(head, justify="right")
    for vector, time in zip_longest(own, times):
        told, layer = vector.origin, str(vector.layers[0]) if len(vector.layers) == 1 else "all"
        numbers = vector.norm, told.residual, vector.relative(1.0), told.entropy
        cosine = "" if time is None else f"{time:+.2f}"
        table.add_row(layer, *(f"{x:.3g}" for x in numbers), f"{told.prompts:,}", cosine)
    return table


def settings(found: pd.DataFrame, method: str, title: str) -> Table:
    """What was tried.

    Args:
        found: A row for each setting, see `icrl.experiments.sweep_table`.
        method: The plan's.
        title: Of the table.
    """
    table = Table(title=escape(title), box=SIMPLE_HEAD, padding=0)
    shown = [
        name for name in _MEASURES if found[name].notna().any() and not (name == "valid" and min(found[name]) == 1)
    ]
    table.add_column("setting", overflow="fold")
    for head in ("at", "strength", *(_MEASURES[name] for name in shown), "regret \\[95%]", "differs"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in found.to_dict(orient="records"):
        regret = rf"{row['regret']:.2f} \[{row['regret_low']:.2f}, {row['regret_high']:.2f}]"
        numbers = [_number(row[key]) for key in ("strength", *shown)]
        differs = "" if math.isnan(row["diff"]) else f"{row['diff']:+.2f}"
        table.add_row(
            _name(row, method), "" if math.isnan(row["level"]) else f"{row['level']:g}", *numbers, regret, differs
        )
    return table


def _name(row: Mapping[Any, Any], method: str) -> str:
    """Of the method's own rows the layer; all controls are at one."""
    if row["kind"] != method:
        return str(row["kind"])
    return f"layer {row['layer']}" if isinstance(row["layer"], int) else "all layers"


def _number(x: float) -> str:
    return "" if math.isnan(x) else f"{x:.2f}"


def origin(vector: SteeringVector, title: str) -> Table:
    """What a vector is, and where it comes from; what is not known is left out."""
    told: dict[str, object] = {"layers": ", ".join(map(str, vector.layers)), "width": vector.width}
    told |= {"digest": vector.digest, **vector.origin.model_dump(), "norm": f"{vector.norm:.4g}"}
    if vector.origin.residual and not vector.keeps_norm:
        told["strength 1 is"] = f"{vector.relative(1.0):.3g} of the residual stream"
    if vector.keeps_norm:
        told["keeps"] = "the length of what it steers"
    table = Table(title=escape(title), box=SIMPLE_HEAD, show_header=False)
    for key, value in told.items():
        if value:
            table.add_row(key, escape(f"{value:.4g}" if isinstance(value, float) else str(value)))
    return table


def inline(steering: Mapping[str, Any]) -> str:
    """Fields as one line of YAML."""
    return str(
        yaml.safe_dump({"steering": dict(steering)}, default_flow_style=None, sort_keys=False, width=10_000)
    ).strip()
