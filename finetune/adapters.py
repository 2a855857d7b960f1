"""Adapters as files: which there are, what each is, and one made part of its model's weights."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icrl.models.adapters import CONFIG, read
from icrl.models.hf import TransformersModel
from icrl.models.weights import place

if TYPE_CHECKING:
    import pandas as pd

CARD, ABOUT = "README.md", "icrl.json"
HEAD = """---
base_model: {base}
library_name: peft
tags: [icrl, in-context-reinforcement-learning]
---

# An algorithm in a model's weights

"""


@dataclass(frozen=True)
class Known:
    """An adapter on this machine."""

    folder: Path
    name: str
    """A hash of its weights and settings: servers know it by that, so a new training is never taken for an old one."""
    rank: int
    base: str
    about: Mapping[str, Any]
    """What its card says, for programs; empty for adapters of other tools."""


def listed(folder: Path) -> Iterator[Known]:
    """All adapters in a folder and below, without those of checkpoints."""
    for config in sorted(folder.rglob(CONFIG)):
        if any(part.startswith("checkpoint-") for part in config.relative_to(folder).parts):
            continue
        try:
            found = read(str(config.parent))
        except ValueError:  # none in safetensors: it is not ours to load
            continue
        base = _fields(config).get("base_model_name_or_path") or ""
        yield Known(config.parent, found.name, found.rank, str(base), _fields(config.parent / ABOUT))


def _fields(file: Path) -> dict[str, Any]:
    """What a file says; nothing if there is none, or it says something else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    return found if isinstance(found, dict) else {}


def merge(model: TransformersModel, adapter: str, out: Path) -> None:
    """Adds an adapter to its model's weights, and writes that model with its tokenizer.

    Raises:
        ValueError: The folder is there already, or the adapter does not fit.
    """
    if out.exists():
        raise ValueError(f"out: {out} is there already; give a new folder")
    base = _fields(read(adapter).folder / CONFIG).get("base_model_name_or_path")
    if base and not _is(base, model.name):
        warnings.warn(f"adapter: {adapter} was made for {base}; is {model.name} the same?", stacklevel=2)
    whole = wrapped(model.model, adapter).merge_and_unload(safe_merge=True)
    whole.save_pretrained(out)
    model.tokenizer.save_pretrained(out)


def _is(base: str, name: str) -> bool:
    """Whether two names are of one model."""
    try:
        return place(base) == place(name)
    except ValueError:  # a folder that is not here
        return False


def wrapped(model: Any, adapter: str, trains: bool = False) -> Any:
    """PEFT's model of a transformers model and an adapter, which may be trained on.

    Raises:
        ValueError: The adapter is not there, or does not fit.
    """
    from peft import PeftModel

    folder = str(read(adapter).folder)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Found missing adapter keys")
            whole = PeftModel.from_pretrained(model, folder, is_trainable=trains)
    except Exception as error:  # PEFT raises what it likes
        raise ValueError(f"adapter: {adapter!r} does not fit the model: {error}") from error
    for config in whole.peft_config.values():
        config.base_model_name_or_path = model.name_or_path  # where PEFT looks for settings when it saves
    return whole


def describe(folder: Path, about: Mapping[str, Any], found: pd.DataFrame) -> None:
    """Writes the card beside an adapter.

    Args:
        folder: The adapter's.
        about: What is to be known: base, teacher, label, data.
        found: What was found of it.
    """
    (folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
    told = [f"- {key}: {json.dumps(value)}" for key, value in about.items()]
    rows = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in found.to_numpy()]
    table = [list(found.columns), ["---"] * len(found.columns), *rows]
    lines = [*HEAD.format(base=about["base"]).splitlines(), *told, "", "## What it does", ""]
    lines += [f"| {' | '.join(row)} |" for row in table]
    (folder / CARD).write_text("\n".join(lines) + "\n", encoding="utf-8")
