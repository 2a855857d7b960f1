"""The commands `icrl adapters list` and `icrl adapters merge`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

app = typer.Typer(help="LoRA adapters: which there are, and one made part of its model.", no_args_is_help=True)
console = Console()


@app.command("list")
def list_all(folder: Annotated[Path, typer.Argument(help="Where to look, and below.")] = Path("runs")) -> None:
    """List the adapters below a folder: what they are called on servers, their base, their teacher."""
    from icrl.finetune.adapters import listed

    table = Table(box=SIMPLE_HEAD)
    for head in ("folder", "name", "rank", "base", "teacher"):
        table.add_column(head, overflow="fold")
    for known in listed(folder.expanduser()):
        teacher = known.about.get("teacher", "")
        told = teacher if isinstance(teacher, str) else json.dumps(teacher)
        table.add_row(*map(escape, (str(known.folder), known.name, str(known.rank), known.base, told)))
    console.print(table)


@app.command()
def merge(
    model: Annotated[str, typer.Argument(help="The base model: pocket, a folder, or a name on the hub.")],
    adapter: Annotated[str, typer.Argument(help="The adapter's folder, or its name on the hub.")],
    out: Annotated[Path, typer.Argument(help="A new folder, for the whole model.")],
) -> None:
    """Add an adapter to its model's weights, for servers and tools that take whole models only."""
    from icrl.finetune.adapters import merge as merged
    from icrl.models.hf import TransformersModel
    from icrl.models.load import load_base

    base = load_base(model)
    if not isinstance(base, TransformersModel):
        raise ValueError(f"model: {model!r} is served; give one that transformers loads")
    merged(base, adapter, out.expanduser())
    console.print(f"The model is in {escape(str(out))}.", soft_wrap=True)
