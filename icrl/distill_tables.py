"""Tables of `icrl distill`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from icrl.finetune.running import Trained

_SHOWN = {
    "normalised regret": "norm.\nregret",
    "suffix failure": "suffix\nfail.",
    "K MinFrac": "K Min\nFrac",
    "GreedyFrac": "Greedy\nFrac",
    "agreement on the teacher's histories": "agrees:\nteacher's",
    "agreement on its own histories": "\nits own",
    "total variation on the teacher's histories": "variation:\nteacher's",
}


def manifest(found: Mapping[str, Any]) -> Table:
    """What was written, and what the audit found."""
    table = Table(title="rows", box=SIMPLE_HEAD)
    for head in ("", "rows", "decisions", "tokens", "longest", "repeated"):
        table.add_column(head, justify="right")
    for name, part in found["written"].items():
        table.add_row(name, *(f"{part[key]:,}" for key in ("rows", "decisions", "tokens", "longest", "repeated")))
    audit = found["audit"]
    leaks = audit["leaks"].items()
    told = [f"{what} of the best arm: {leak['nats']:.3f} nats, p = {leak['p']:.2f}" for what, leak in leaks]
    told = told or ["no game has one best arm throughout, so nothing can tell it"]
    table.caption = escape(f"audit {'passed' if audit['passed'] else 'FAILED'}; " + "; ".join(told))
    return table


def looks(trained: Trained) -> Table:
    """How the model played during training."""
    table = Table(title="looks", box=SIMPLE_HEAD)
    for head in ("step", "loss", "regret of uniform's", "mass"):
        table.add_column(head, justify="right")
    for look in trained.looks:
        loss = "" if look.loss is None else f"{look.loss:.4f}"
        kept = " *" * (look == trained.best)
        table.add_row(str(look.step), loss, f"{look.regret:.3f} ± {look.error:.3f}{kept}", f"{look.mass:.3f}")
    if trained.rank_correlation is not None:
        table.caption = f"rank correlation of loss and regret: {trained.rank_correlation:+.2f}"
    return table


def evaluation(found: pd.DataFrame) -> Table:
    """A row for each split and player."""
    table = Table(title="student, base and teacher on the same luck", box=SIMPLE_HEAD, padding=0)
    table.add_column("split", no_wrap=True)
    table.add_column("player")
    for head in _SHOWN.values():
        table.add_column(head, justify="right", no_wrap=True)
    for _, row in found.iterrows():
        table.add_row(row["split"], row["player"], *(f"{row[name]:.3f}" for name in _SHOWN))
    return table
