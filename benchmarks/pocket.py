"""What `pocket` is: the gates and tables of its card. Run: `python benchmarks/pocket.py` (an hour or more on 2 cores).

Labels, seeds, a scenario and a number of arms are those that its corpus excludes; all players meet the same luck. Parts
are measured side by side, in one thread each. Writes `results/pocket.json` part by part (the same command again does
what is missing), `docs/pocket.md` and its curves. Fewer episodes than 1,000, for a quick look, and other models write
none of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from card.audit import audit
from card.common import SEED, machine
from card.curves import curves, trained
from card.elsewhere import elsewhere
from card.formats import formats, mass, written
from card.gates import reported, required
from card.page import page
from card.parts import begun, save, side_by_side
from card.play import cost, play, told
from card.teaching import hinted, shown
from card.thinking import thinking

import icrl

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "pocket.json"
PAGE, CURVES = ROOT / "docs" / "pocket.md", ROOT / "docs" / "pocket_training.png"
LOG = ROOT / "models" / "pocket" / "training.json"
FULL = 1000
PARTS: dict[str, Any] = {
    "play": lambda model, n, some: play(model, n),
    "elsewhere": lambda model, n, some: elsewhere(model, some),
    "hints": lambda model, n, some: hinted(model, some),
    "shown": lambda model, n, some: shown(model, some),
    "told": lambda model, n, some: told(model, some),
    "thoughts": lambda model, n, some: thinking(model, some // 2),
    "distributions": lambda model, n, some: written(model, some // 2),
    "audit": lambda model, n, some: audit(model.tokenizer, 2 * n),
}
MASS = "mass"
"""One table more; its rows are kept one by one, as they take long."""


def main(
    model: Annotated[str, typer.Argument(help="What `icrl.load_model` takes.")] = "pocket",
    episodes: Annotated[int, typer.Option(help="Of each player for the first gates; a fifth for the rest.")] = FULL,
    again: Annotated[list[str] | None, typer.Option(help=f"Measure anew: {', '.join(PARTS)}, mass, or cost.")] = None,
) -> None:
    """Measure, print, and write the page."""
    served, writes = icrl.load_model(model), model == "pocket" and episodes >= FULL
    some = max(32, episodes // 5)
    head = {
        "model": f"{model}, weights {served.facts['revision']}",
        "machine": machine(),
        "episodes": episodes,
        "some": some,
        "seed": SEED,
    }
    found = begun(RESULTS, head) if writes else head
    found["training"] = trained(LOG) if model == "pocket" else "unknown"
    for name in again or ():
        if name not in (*PARTS, MASS, "cost"):
            raise typer.BadParameter(f"again: must be one of {', '.join(PARTS)}, {MASS}, cost; got {name!r}")
        found.pop(name, None)
    masses = found.setdefault(MASS, {})
    if "cost" not in found:
        found["cost"] = cost(served)
        _save(found, writes)
    missing = [(name, "") for name in PARTS if name not in found]
    missing += [(MASS, prompt) for prompt in formats() if prompt not in masses]
    parts = {part: (_part, (*part, model, episodes, some)) for part in missing}
    for (name, prompt), measured in side_by_side(parts):
        (masses if prompt else found)[prompt or name] = measured
        print(json.dumps({prompt or name: measured}), flush=True)
        _save(found, writes)
    found[MASS] = {name: masses[name] for name in formats()}
    _save(found, writes)
    for gate in (*required(found), *reported(found)):
        print("met   " if gate.met else "MISSED", gate.asked, "|", gate.found)
    if writes:
        PAGE.write_text(page(found), encoding="utf-8")
        curves(LOG, CURVES)


def _save(found: dict[str, Any], writes: bool) -> None:
    if writes:
        save(RESULTS, found)


def _part(name: str, prompt: str, model: str, episodes: int, some: int) -> Any:
    served = icrl.load_model(model)
    return mass(served, prompt, some // 2) if prompt else PARTS[name](served, episodes, some)


if __name__ == "__main__":
    typer.run(main)
