"""One experiment as one HTML page that needs no network: tables, charts in inline SVG, settings.

Names, settings and whatever a model wrote are untrusted. They reach the page through the template only, which escapes
them, as the charts' legends do.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from icrl.envs.episodes import Episodes
from icrl.experiments.charts import draw
from icrl.experiments.compare import compare

NONE = "\N{EN DASH}"
# The measures of the table: 1 where high is good, -1 where low is, 0 where neither.
BETTER = {"regret": -1, "suffix_failure": -1, "min_frac": 0, "greedy_frac": 0, "best_fraction": 1, "best_at_end": 1}
BETTER |= {"median_reward": 1, "coverage": 0, "invalid": -1, "mass": 0}


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
    lines, curves, histograms = draw(runs)
    template = (files("icrl.experiments") / "report.html.jinja").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.from_string(template).render(
        title=title,
        first=next(iter(runs.values())),
        task=describe(next(iter(runs.values()))),
        lines=lines,
        cells=_cells(table),
        paired=_paired(table),
        curves=curves,
        histograms=histograms,
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


def _cells(table: pd.DataFrame) -> dict[str, dict[str, tuple[str, bool]]]:
    """By measure and agent: the number, and whether it is the best; measures that nobody has are left out."""
    cells = {}
    for key, better in BETTER.items():
        values = table[key].round(3) * better
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
