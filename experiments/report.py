"""One experiment as one HTML page that needs no network: tables, charts in inline SVG, settings.

Names, settings and whatever a model wrote are untrusted. They reach the page through the template only, which escapes
them, as the charts' legends do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from icrl.envs.episodes import Episodes
from icrl.experiments.charts import draw
from icrl.experiments.compare import compare
from icrl.experiments.config import Prices
from icrl.experiments.cost import measured, money

NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Head:
    """A column of the table: its title, 1 where high is good, -1 where low is, 0 where neither, and what it means."""

    title: str
    better: int
    meaning: str


HEADS = {
    "regret": Head(
        "Pseudo-regret",
        -1,
        "sum over the episode of the best mean minus the chosen arm's mean; low is good. A forfeited "
        "step costs the largest gap.",
    ),
    "suffix_failure": Head(
        "Suffix failure",
        -1,
        "share of episodes that never choose the best arm in their second half (steps T/2 to T): "
        "exploration stopped too early; low is good.",
    ),
    "min_frac": Head(
        "K \N{MULTIPLICATION SIGN} MinFrac",
        0,
        "pulls of the least pulled arm, times K, over T. 1 is uniform play, 0 an arm never tried; "
        "high values mean that exploration does not end.",
    ),
    "greedy_frac": Head(
        "GreedyFrac",
        0,
        "share of steps that choose the arm with the best empirical mean so far, or an untried one. 1 "
        "is pure exploitation.",
    ),
    "best_fraction": Head(
        "Best arm",
        1,
        "share of all steps that pull the best arm; high is good.",
    ),
    "best_at_end": Head(
        "Best at T",
        1,
        "share of episodes whose last step pulls the best arm; high is good.",
    ),
    "median_reward": Head(
        "Median reward",
        1,
        "median over episodes of the average reward, where 0 is the worst arm's mean and 1 the best "
        "arm's; high is good.",
    ),
    "coverage": Head(
        "Coverage",
        0,
        "share of the arms that were tried at all.",
    ),
    "invalid": Head(
        "Invalid",
        -1,
        "share of steps with an answer that could not be read; low is good.",
    ),
    "mass": Head(
        "Label mass",
        0,
        "probability that the arms' labels held before everything else was masked; well below 1 it "
        "speaks of a malformed prompt.",
    ),
}


def render(
    runs: Mapping[str, Episodes],
    title: str,
    settings: Mapping[str, str],
    versions: Mapping[str, str],
    prices: Prices | None = None,
) -> str:
    """The page, as HTML text; equal arguments give equal text.

    Args:
        runs: Episodes by name of the agent; the first is the baseline of the paired tests.
        title: The heading.
        settings: Texts to show, by name, such as the experiment's YAML.
        versions: Of whatever made the runs, by name.
        prices: Of tokens.

    Raises:
        ValueError: The runs did not meet the same luck.
    """
    table = compare(runs)
    lines, curves, histograms = draw(runs)
    template = (files("icrl.experiments") / "report.html.jinja").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.from_string(template).render(
        title=title,
        first=next(iter(runs.values())),
        task=describe(next(iter(runs.values()))),
        lines=lines,
        heads=heads(next(iter(runs.values()))),
        cells=_cells(table),
        paired=_paired(table),
        curves=curves,
        histograms=histograms,
        costs={name: measured(played) for name, played in runs.items() if played.usage is not None},
        prices=prices,
        money=money,
        settings=settings,
        versions=versions,
    )


def heads(runs: Episodes) -> dict[str, Head]:
    """The columns, in the words of the task."""
    if runs.public.kind == "best-arm":
        meaning = "the best mean minus that of the last choice, which alone counts; low is good."
        return HEADS | {"regret": Head("Simple regret", -1, meaning)}
    if runs.public.slots > 1:
        meaning = "sum over the episode of the gap of both arms on average (strong regret); low is good."
        return HEADS | {"regret": Head("Strong regret", -1, meaning)}
    return HEADS


_KINDS = {
    "bandit": "bandit",
    "moving": "bandit with changing means",
    "contextual": "contextual bandit",
    "dueling": "dueling bandit",
    "best-arm": "search for the best arm",
}


def describe(runs: Episodes) -> str:
    """The task in words, as far as its record tells."""
    public = runs.public
    noise = f" (standard deviation {public.noise_sd:g})" if public.noise_sd is not None else ""
    words = f"A {_KINDS.get(public.kind, public.kind)} with {public.n_arms} arms "
    words += f"and {public.reward.capitalize()} rewards{noise}; "
    games = f"{public.trials} games, each with other means and of " if public.trials > 1 else ""
    words += f"an episode has {games}{public.game or f'at most {runs.horizon}'} steps."
    if runs.means is None or runs.means.shape[1] < 2 or public.slots > 1:
        return words
    known = np.where(np.isnan(runs.means), -np.inf, runs.means)
    second, best = np.sort(known, axis=1)[:, -2:].mean(axis=0)
    return f"{words} On average over the episodes, the best mean is {best:.3g}, the second best {second:.3g}."


def _cells(table: pd.DataFrame) -> dict[str, dict[str, tuple[str, bool]]]:
    """By measure and agent: the number, and whether it is the best; measures that nobody has are left out."""
    cells = {}
    for key, head in HEADS.items():
        values = table[key].round(3) * head.better
        best = (values == values.max()) & (values.nunique() > 1)
        if table[key].notna().any():
            cells[key] = {
                str(name): (_number(x, 2 if key == "regret" else 3), bool(best[name])) for name, x in table[key].items()
            }
    return cells


def _paired(table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """By agent: the interval of its regret, the difference from the baseline with its interval, and two p-values."""
    return {
        str(name): (
            _span(row["regret_low"], row["regret_high"]),
            _number(row["diff"]),
            _span(row["diff_low"], row["diff_high"]),
            _p(row["p"]),
            _p(row["p_suffix"]),
        )
        for name, row in table.iterrows()
    }


def _number(x: float, digits: int = 2) -> str:
    return NONE if np.isnan(x) else f"{x:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _span(low: float, high: float) -> str:
    return NONE if np.isnan(low) else f"{_number(low)} to {_number(high)}"


def _p(p: float) -> str:
    return NONE if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
