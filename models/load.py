"""`load_model`: from a name to a served model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from icrl.models.base import Model

POCKET = "pocket"


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device_map: str | None = None,
    adapter: str | Path | None = None,
    chat_template: str | Path | None = None,
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
    tokenizer = load_tokenizer(name, revision=revision, chat_template=chat_template)

    import transformers

    from icrl.models.hf import TransformersModel

    name = str(name)
    folder, path = _place(name)
    with _readable(name):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path, revision=revision, dtype=dtype, device_map=device_map, use_safetensors=True
        )
    commit: Any = getattr(model.config, "_commit_hash", None)  # absent on a config read from a folder
    identity = commit or _digest(folder.glob("*.safetensors"))
    if adapter is not None:
        identity += "+" + _adapt(model, str(adapter))
    served = TransformersModel(name, model.eval(), tokenizer, identity)
    served.warm_up()
    return served


def load_tokenizer(name: str | Path, *, revision: str | None = None, chat_template: str | Path | None = None) -> Any:
    """The tokenizer of a model, without its weights; arguments and errors as of `load_model`."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError("model: language models need transformers; `pip install 'icrl[model]'` brings it") from error

    name = str(name)
    _, path = _place(name)
    with _readable(name):
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, revision=revision)
    if chat_template is not None:
        text = str(chat_template)
        if "{" not in text:
            if not Path(text).is_file():
                raise ValueError(f"chat_template: {text!r} is neither a file nor a template, which has braces")
            text = Path(text).read_text(encoding="utf-8")
        tokenizer.chat_template = text
    return tokenizer


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turns what transformers says of files that it cannot read into one sentence."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ValueError(f"model: {name!r} is no model that can be read from a folder or the hub: {error}") from error


def _place(name: str) -> tuple[Path, str]:
    """The folder that a name may mean, and what transformers is to be asked for."""
    folder = Path(str(files("icrl.models") / "pocket")) if name == POCKET else Path(name).expanduser()
    local = folder.is_dir() or folder.is_absolute() or name.startswith(".")
    if local and not (folder / "config.json").is_file():
        raise ValueError(
            f"model: no model at {folder}: give 'pocket', a folder with a config.json, or a name on the hub"
        )
    return folder, str(folder) if local else name


def _adapt(model: Any, adapter: str) -> str:
    """Applies an adapter; returns a hash of its weights. Read here, as transformers would also unpickle a `.bin`."""
    try:
        from peft import PeftConfig
    except ImportError as error:
        raise ValueError("adapter: adapters need PEFT; `pip install peft` brings it") from error
    from safetensors.torch import load_file
    from transformers.utils import cached_file

    try:
        weights = Path(str(cached_file(adapter, "adapter_model.safetensors")))
        model.load_adapter(peft_config=PeftConfig.from_pretrained(adapter), adapter_state_dict=load_file(weights))
    except (OSError, ValueError) as error:
        raise ValueError(f"adapter: {adapter!r} is no PEFT adapter in safetensors: {error}") from error
    return _digest([weights])


def _digest(files: Iterable[Path]) -> str:
    """A short hash of weight files."""
    digest = hashlib.sha256()
    for file in sorted(files):
        with file.open("rb") as handle:
            while block := handle.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()[:12]
