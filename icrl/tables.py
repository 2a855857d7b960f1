"""Tables of the command line; names are a user's, and so escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from icrl.experiments.config import Prices
    from icrl.experiments.cost import Cost

_COLUMNS = {
    "regret": "regret [95%]",
    "diff": "differs",
    "p": "p",
    "suffix_failure": "suffix\nfailure",
    "best_fraction": "best\narm",
    "mass": "label\nmass",
    "invalid": "unread",
}
_RARE = ("mass", "invalid")
"""Columns that are shown only if some agent has more than nothing in them."""
_TOKENS = ("steps", "new", "cached", "written", "thinking")


def comparison(table: pd.DataFrame, title: str) -> Table:
    """What `icrl.compare` found, one row per agent."""
    shown = Table(title=escape(title), box=SIMPLE_HEAD, collapse_padding=True)
    keys = [key for key in _COLUMNS if key not in _RARE or (table[key] > 0).any()]
    shown.add_column("agent", overflow="fold")
    for key in keys:
        shown.add_column(_COLUMNS[key], justify="right", no_wrap=True)
    for name, row in table.iterrows():
        interval = f"{row['regret']:.2f} [{row['regret_low']:.2f}, {row['regret_high']:.2f}]"
        shown.add_row(escape(str(name)), interval, *(_cell(float(row[key]), key) for key in keys[1:]))
    return shown


def _cell(value: float, key: str) -> str:
    if value != value:
        return ""
    return "<0.001" if key == "p" and value < 0.001 else f"{value:.3g}" if abs(value) < 0.1 else f"{value:.2f}"


def tokens(found: Mapping[str, Mapping[str, Cost]], prices: Prices | None) -> Table:
    """What models read and write, and its price if there are prices.

    Args:
        found: By whether they are `measured` or `estimated`: of each agent with a model.
        prices: The experiment's.
    """
    from icrl.experiments.cost import money

    shown = Table(title="tokens", box=SIMPLE_HEAD, collapse_padding=True)
    shown.add_column("agent", overflow="fold")
    shown.add_column("")
    for head in (*_TOKENS, *(("price",) if prices else ())):
        shown.add_column(head, justify="right", no_wrap=True)
    for agent, kind, cost in _rows(found):
        counts = (cost.calls, cost.new, cost.cached, cost.written, cost.thinking)
        price = (money(cost.price(prices)),) if prices else ()
        shown.add_row(escape(agent), kind, *(f"{n:,}" for n in counts), *price)
    return shown


def _rows(found: Mapping[str, Mapping[str, Cost]]) -> Iterator[tuple[str, str, Cost]]:
    """Agent by agent; of several, all of them together last."""
    names = list(dict.fromkeys(name for costs in found.values() for name in costs))
    for name in names:
        yield from ((name, kind, costs[name]) for kind, costs in found.items() if name in costs)
    if len(names) > 1:
        yield from (("all of them", kind, reduce(add, costs.values())) for kind, costs in found.items())
