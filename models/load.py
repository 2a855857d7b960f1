"""`load_model`: from a name to a served model."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from icrl.models.base import Model

POCKET = "pocket"


def load_model(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device_map: str | None = None,
    adapter: str | None = None,
    chat_template: str | None = None,
) -> Model:
    """Loads a language model with transformers, from safetensors only.

    Args:
        name: `pocket` (the embedded test bed), a local folder, or a name on the hub.
        revision: Branch, tag or commit on the hub.
        dtype: `auto` (as stored), `float32`, `bfloat16`, ...
        device_map: Where to put the weights, e.g. `auto` or `cuda`.
        adapter: A PEFT adapter to apply: a local folder or a name on the hub.
        chat_template: A template to use instead of the tokenizer's: its text, or a file.

    Raises:
        ValueError: There is no such model, or it cannot be read.
    """
    import transformers

    from icrl.models.hf import TransformersModel

    path = str(files("icrl.models") / "pocket") if name == POCKET else name
    if name.startswith((".", "/", "~")) or Path(name).exists():
        path = str(Path(name).expanduser())
    folder = Path(path)
    if (folder.is_absolute() or name.startswith(".")) and not (folder / "config.json").is_file():
        raise ValueError(f"model: no model at {path}: give 'pocket', a folder with a config.json, or a name on the hub")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, revision=revision)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path, revision=revision, dtype=dtype, device_map=device_map, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"model: {name!r} is no model that can be read from a folder or the hub: {error}") from error
    if adapter is not None:
        model.load_adapter(adapter)
    if chat_template is not None:
        is_file = "\n" not in chat_template and "{" not in chat_template and Path(chat_template).is_file()
        tokenizer.chat_template = Path(chat_template).read_text(encoding="utf-8") if is_file else chat_template
    commit: Any = getattr(model.config, "_commit_hash", None)  # absent on a config read from a folder
    return TransformersModel(name, model.eval(), tokenizer, commit or _digest(folder))


def _digest(folder: Path) -> str:
    """A short hash of the weight files of a local folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as handle:
            while block := handle.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()[:12]
