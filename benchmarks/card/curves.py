"""The curves of the training that made a model, from the log that it saved."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.style import context

from icrl.experiments.charts import COLOURS, STYLE

PANELS = {
    "loss": {"loss": "all"},
    "regret, of Uniform's": {f"bernoulli-{x}: regret": x for x in ("easy", "hard")},
    "label mass": {f"bernoulli-{x}: mass": x for x in ("easy", "hard")},
}


def curves(log: Path, out: Path) -> None:
    """Draws loss, regret and label mass over the steps, as a PNG."""
    entries = json.loads(log.read_text())["log"]
    with context(STYLE):
        figure = Figure(figsize=(10, 2.8), layout="constrained")
        for axes, (title, lines) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            for colour, (name, label) in zip(COLOURS, lines.items(), strict=False):
                at = [(entry["step"], float(entry[name])) for entry in entries if name in entry]
                axes.plot(*zip(*at, strict=True), color=colour, label=label)
            axes.set(title=title, xlabel="step")
            if len(lines) > 1:
                axes.legend(frameon=False)
        figure.savefig(out, dpi=110, metadata={"Software": None})


def trained(log: Path) -> str:
    """How long the training was."""
    training = json.loads(log.read_text())
    return f"{training['steps']:,} steps of four batches of about 1,800 tokens"
