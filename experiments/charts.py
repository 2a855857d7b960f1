"""The charts of a report, as inline SVG. They hold no text but our own: legends are the page's."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from icrl.envs.episodes import Episodes
from icrl.envs.types import Bools, Floats
from icrl.experiments import measures
from icrl.experiments.compare import bands

# Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow that vanishes on white; the
# dashes tell lines apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")
DASHES = ((), (9.0, 3.0), (2.5, 2.5), (10.0, 3.0, 2.5, 3.0))
INK = "#111111"  # becomes the page's text colour, light or dark
POINTS = 200  # of each curve are drawn
BINS = 20
STYLE: Any = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "font.size": 9.5},
    **{"axes.grid": True, "grid.color": INK, "grid.alpha": 0.12},
    **{"lines.scale_dashes": False, "svg.fonttype": "none", "svg.hashsalt": "icrl"},
}


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


def draw(runs: Mapping[str, Episodes]) -> tuple[list[Line], list[Chart], list[Chart]]:
    """How each agent is drawn, the curves over time, and a histogram per agent."""
    lines = [
        Line(name, run.agent, COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)])
        for i, (name, run) in enumerate(runs.items())
    ]
    with context(STYLE, after_reset=True):
        return lines, _curves(runs, lines), _histograms(runs, lines)


def _curves(runs: Mapping[str, Episodes], lines: Sequence[Line]) -> list[Chart]:
    """Over time: regret and suffix failure, and for agents with a known policy its entropy and label mass."""
    n_arms = next(iter(runs.values())).public.n_arms
    charts = (
        _curve("Pseudo-regret", _regret, runs, lines),
        _curve("Suffix failure", measures.suffix_failure_curve, runs, lines, top=1.0),
        _curve("Action entropy (nats)", measures.action_entropy, runs, lines, top=float(np.log(n_arms)), rule=True),
        _curve("Label mass", measures.label_mass, runs, lines, top=1.0),
    )
    return [chart for chart in charts if chart.lines]


def _regret(run: Episodes) -> Floats:
    """NaN for everyone once it is unknown in one episode: the mean of the others would mislead."""
    regret = measures.pseudo_regret(run)
    return np.where(np.isnan(regret).any(axis=0), np.nan, regret)


def _curve(
    title: str,
    measure: Callable[[Episodes], Floats | Bools],
    runs: Mapping[str, Episodes],
    lines: Sequence[Line],
    top: float | None = None,
    rule: bool = False,
) -> Chart:
    """Means over episodes with 95% bands, for the agents that have the measure; `rule` marks `top`."""
    (figure, axes), drawn = _axes(6.0, 3.4, "step t", title), []
    for line in lines:
        try:
            values = measure(runs[line.name])
        except measures.MissingColumn:
            continue
        if not np.isnan(values).all():
            _draw(axes, values, line)
            drawn.append(line)
    axes.set_ylim(0, None if top is None else 1.03 * top)
    if rule and top is not None:
        axes.axhline(top, color=INK, linewidth=0.8, linestyle=":")
    return Chart(title, _inline(figure, title), drawn)


def _draw(axes: Axes, values: Floats | Bools, line: Line) -> None:
    at = np.unique(np.linspace(0, values.shape[1] - 1, POINTS).round().astype(np.int64))
    mean, low, high = bands(values[:, at])
    axes.fill_between(at + 1, low, high, color=line.colour, alpha=0.18, linewidth=0)
    axes.plot(at + 1, mean, color=line.colour, dashes=line.dashes, linewidth=1.8, marker="" if len(at) > 1 else "o")


def _histograms(runs: Mapping[str, Episodes], lines: Sequence[Line]) -> list[Chart]:
    """Per agent, how episodes differ in their share of pulls of the best arm; all on one scale."""
    shares = {}
    for line in lines:
        try:
            pulls = measures.optimal_fraction(runs[line.name])[:, -1]
        except measures.MissingColumn:
            continue
        shares[line] = np.histogram(pulls, BINS, (0.0, 1.0))[0] / len(pulls)
    top = max((share.max() for share in shares.values()), default=1.0)
    charts: list[Chart] = []
    for line, share in shares.items():
        figure, axes = _axes(3.0, 1.9, "pulls of the best arm / T", "share of episodes")
        axes.bar(np.arange(BINS) / BINS, share, width=0.9 / BINS, align="edge", color=line.colour)
        axes.set(xlim=(0, 1), ylim=(0, 1.05 * top))
        charts.append(Chart(line.name, _inline(figure, f"Best arm {len(charts) + 1}"), [line]))
    return charts


def _axes(width: float, height: float, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    return figure, axes


def _inline(figure: Figure, title: str) -> Markup:
    """SVG for the inside of a page: no namespaces, no metadata, ids of its own, text in the page's font and colour."""
    buffer, prefix = io.StringIO(), "".join(c if c.isalnum() else "-" for c in title)
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag.endswith(("}metadata", "}style"))]:
            parent.remove(child)
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
        node.attrib = {k.rpartition("}")[2]: _own(k.rpartition("}")[2], v, prefix) for k, v in node.items()}
    for size in ("width", "height"):
        root.attrib.pop(size)
    root.attrib |= {"role": "img", "aria-label": title}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _own(key: str, value: str, prefix: str) -> str:
    """An attribute with its ids prefixed and its ink replaced."""
    if key == "id":
        return f"{prefix}-{value}"
    if key == "href":
        return f"#{prefix}-{value.removeprefix('#')}"
    return value.replace("url(#", f"url(#{prefix}-").replace(INK, "currentColor")
