"""One experiment as one HTML page that needs no network: tables, charts in inline SVG, settings.

Names, settings and whatever a model wrote are untrusted. They reach the page through the template only, which escapes
them; the charts hold no text but our own, and their legends are HTML.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icrl.envs.episodes import Episodes
from icrl.envs.types import Bools, Floats
from icrl.experiments import measures
from icrl.experiments.compare import bands, compare

# Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow that vanishes on white; the
# dashes tell lines apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")
DASHES = ((), (6.0, 2.0), (1.5, 1.5), (7.0, 2.0, 1.5, 2.0))
INK = "#111111"  # becomes the page's text colour, light or dark
POINTS = 200  # of each curve are drawn
BINS = 20
STYLE: dict[str, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "font.size": 9.5},
    **{"axes.grid": True, "grid.color": INK, "grid.alpha": 0.12, "svg.fonttype": "none"},
}
BETTER = {"regret": -1, "suffix_failure": -1, "best_fraction": 1, "best_at_end": 1, "median_reward": 1}
BETTER |= {"invalid": -1, "mass": 1}  # 1 where high is good, -1 where low is; the other measures are neither
PLAIN = (*BETTER, "min_frac", "greedy_frac", "coverage")


@dataclass(frozen=True)
class Line:
    """How an agent is named and drawn, in every chart the same."""

    name: str
    spec: str
    colour: str
    dashes: tuple[float, ...]


@dataclass(frozen=True)
class Chart:
    """A picture and the agents in it."""

    title: str
    svg: Markup
    lines: Sequence[Line]


def render(runs: Mapping[str, Episodes], title: str, settings: Mapping[str, str], versions: Mapping[str, str]) -> str:
    """The page, as HTML text; equal arguments give equal text.

    Args:
        runs: Episodes by name of the agent; the first is the baseline of the paired tests.
        title: The heading.
        settings: Texts to show, by name, such as the experiment's YAML.
        versions: Of whatever made the runs, by name.

    Raises:
        ValueError: The runs did not meet the same luck.
    """
    table = compare(runs)
    lines = [
        Line(name, run.agent, COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)])
        for i, (name, run) in enumerate(runs.items())
    ]
    template = (files("icrl.experiments") / "report.html.jinja").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.from_string(template).render(
        title=title,
        first=next(iter(runs.values())),
        task=describe(next(iter(runs.values()))),
        lines=lines,
        cells=_cells(table),
        paired=_paired(table),
        curves=_curves(runs, lines),
        histograms=_histograms(runs, lines),
        usage={k: v.usage.clip(0).sum(axis=(0, 1)).tolist() for k, v in runs.items() if v.usage is not None},
        settings=settings,
        versions=versions,
    )


def describe(runs: Episodes) -> str:
    """The task in words, as far as its record tells."""
    public = runs.public
    noise = f" (standard deviation {public.noise_sd:g})" if public.noise_sd is not None else ""
    words = f"A {public.kind} with {public.n_arms} arms and {public.reward.capitalize()} rewards{noise}; "
    words += f"an episode has {public.horizon or f'at most {runs.horizon}'} steps."
    if runs.means is None or runs.means.shape[1] < 2:
        return words
    second, best = np.sort(runs.means, axis=1)[:, -2:].mean(axis=0)
    return f"{words} On average over the episodes, the best mean is {best:.3g}, the second best {second:.3g}."


def _cells(table: pd.DataFrame) -> dict[str, dict[str, tuple[str, str, bool]]]:
    """By measure and agent: the number, its interval, whether it is the best; without unknown measures."""
    cells = {}
    for key in (key for key in PLAIN if table[key].notna().any()):
        values = table[key].round(3) * BETTER.get(key, 0)
        best = (values == values.max()) & (values.nunique() > 1)
        cells[key] = {name: (_number(table[key][name]), "", bool(best[name])) for name in table.index}
    for name, (low, high) in table[["regret_low", "regret_high"]].iterrows() if "regret" in cells else ():
        pass
    return cells
