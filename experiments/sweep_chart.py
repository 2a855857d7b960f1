"""A sweep in one figure: a row for each measure; layers and strengths, controls, and baselines side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from icrl.experiments.charts import COLOURS, DASHES, INK, STYLE
from icrl.experiments.sweep import Swept
from icrl.experiments.sweep_settings import MINUS, UNSTEERED
from icrl.experiments.vectors import CONTROLS

ROWS = {
    "entropy": "action entropy (nats)",
    "regret": "final regret",
    "suffix_failure": "suffix failure",
    "mass": "label mass",
    "valid": "readable answers",
}
BASELINES = {"temperature": "T {:g}", "epsilon": "\N{GREEK SMALL LETTER EPSILON} {:g}", "hints": "hints"}


def draw(found: Swept, path: Path) -> None:
    """Writes the figure; measures that nothing has, and shares that are 1 throughout, are left out.

    Args:
        found: The sweep.
        path: An image file.
    """
    table = found.table
    rows = [name for name in ROWS if table[name].notna().any() and not (name == "valid" and (table[name] == 1).all())]
    columns = [
        _layers,
        *([_controls] if (table["kind"] == MINUS).any() else []),
        *([_baselines] if _beside(table) else []),
    ]
    with context(STYLE, after_reset=True):
        figure = Figure(figsize=(3.3 * len(columns), 0.9 + 1.9 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), len(columns), squeeze=False, sharey="row", sharex="col")
        for name, line in zip(rows, grid, strict=True):
            line[0].set_ylabel(ROWS[name])
            for axes, column in zip(line, columns, strict=True):
                _unsteered(axes, table, name)
                column(axes, found, name)
        for axes, column in zip(grid[0], columns, strict=True):
            place: Any = {"loc": "lower left", "bbox_to_anchor": (-0.03, 1.0), "ncols": 2, "alignment": "left"}
            axes.legend(title=TITLES[column], title_fontsize=9.5, frameon=False, fontsize=8, **place)
        figure.savefig(path, dpi=150)


def _layers(axes: Axes, found: Swept, name: str) -> None:
    """A line for each layer; the chosen setting is circled."""
    own = found.table[found.table["kind"] == found.plan.fit.method]
    layers = own["layer"].unique()
    shades = colormaps["viridis"](np.linspace(0.0, 0.85, len(layers)))
    for layer, colour in zip(layers, shades, strict=True):
        rows = own[own["layer"].isna() if pd.isna(layer) else own["layer"] == layer]
        _line(axes, rows, name, "all layers" if pd.isna(layer) else f"layer {layer}", colour)
    if found.best is not None:
        row = found.table.loc[found.best]
        axes.plot(row["level"], row[name], "o", ms=9, mfc="none", mec=INK, label="chosen", linestyle="")
    _strengths(axes, found)


def _controls(axes: Axes, found: Swept, name: str) -> None:
    """The vector at the best layer, its contrary, and what means nothing."""
    table, method = found.table, found.plan.fit.method
    layer = table.loc[table["kind"] == MINUS, "layer"].iloc[0]
    here = table["layer"].isna() if pd.isna(layer) else table["layer"] == layer
    for i, kind in enumerate((method, MINUS, *CONTROLS)):
        label = f"{kind}, layer {layer}" if kind == method and not pd.isna(layer) else kind
        _line(axes, table[(table["kind"] == kind) & here], name, label, COLOURS[i], DASHES[i % len(DASHES)])
    _strengths(axes, found)


def _baselines(axes: Axes, found: Swept, name: str) -> None:
    """A point for each."""
    rows = found.table[found.table["kind"].isin(list(BASELINES))]
    at, middle = np.arange(len(rows)), rows[name].to_numpy(np.float64)
    low, high = (np.abs(rows[f"{name}_{end}"].to_numpy(np.float64) - middle) for end in ("low", "high"))
    axes.errorbar(at, middle, [low, high], fmt="o", color=COLOURS[1], ms=4, lw=1.4, label="other ways to explore")
    labels = [BASELINES[kind].format(level) for kind, level in zip(rows["kind"], rows["level"], strict=True)]
    axes.set_xticks(at, labels, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(rows) - 0.4)


def _beside(table: pd.DataFrame) -> bool:
    return bool(table["kind"].isin(list(BASELINES)).any())


def _unsteered(axes: Axes, table: pd.DataFrame, name: str) -> None:
    """What the agent does as it is, across the panel."""
    row = table[table["kind"] == UNSTEERED].iloc[0]
    axes.axhspan(row[f"{name}_low"], row[f"{name}_high"], color=INK, alpha=0.1, linewidth=0)
    axes.axhline(row[name], color=INK, linewidth=1, linestyle=":", label=UNSTEERED)


def _line(axes: Axes, rows: pd.DataFrame, name: str, label: str, colour: Any, dashes: Sequence[float] = ()) -> None:
    x, y, low, high = (rows[key].to_numpy(np.float64) for key in ("level", name, f"{name}_low", f"{name}_high"))
    axes.fill_between(x, low, high, color=colour, alpha=0.1, linewidth=0)
    axes.plot(x, y, color=colour, dashes=tuple(dashes), marker="o", ms=3, linewidth=1.5, label=label)


def _strengths(axes: Axes, found: Swept) -> None:
    """The axis of strengths, which are mostly chosen as powers."""
    tried = found.plan.sweep
    levels = sorted(tried.relative if tried.strengths is None else tried.strengths)
    axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.minorticks_off()
    if (place := axes.get_subplotspec()) and place.is_last_row():
        axes.set_xlabel("strength / residual stream" if tried.strengths is None else "strength")


TITLES = {_layers: "steered, by layer", _controls: "vector and controls", _baselines: "baselines"}
"""Of the columns."""
