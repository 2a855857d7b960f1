"""Models on this machine: where they are, what identifies them, and their tokenizers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

POCKET = "pocket"


def tokenizer_of(name: str, revision: str | None = None, chat_template: str | Path | None = None) -> Any:
    """The tokenizer of a folder or of a name on the hub.

    Raises:
        ValueError: There is none, or transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise ValueError("model: language models need transformers; `pip install 'icrl[model]'` brings it") from error

    _, path = place(name)
    with readable(name):
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, revision=revision)
    if chat_template is not None:
        tokenizer.chat_template = template(chat_template)
    return tokenizer


def template(given: str | Path) -> str:
    """A chat template, which has braces, or the text of the file that holds one."""
    text = str(given)
    if "{" in text:
        return text
    if not Path(text).is_file():
        raise ValueError(f"chat_template: {text!r} is neither a file nor a template, which has braces")
    return Path(text).read_text(encoding="utf-8")


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns what transformers says of files that it cannot read into one sentence."""
    try:
        yield
    except (OSError, ValueError, AttributeError, AssertionError) as error:  # the last ones of a dtype or a device
        raise ValueError(f"model: {name!r} is no model that can be read from a folder or the hub: {error}") from error


def place(name: str) -> tuple[Path, str]:
    """The folder that a name may mean, and what transformers is to be asked for."""
    folder = Path(str(files("icrl.models") / "pocket")) if name == POCKET else Path(name).expanduser()
    local = folder.is_dir() or folder.is_absolute() or name.startswith(".")
    if local and not (folder / "config.json").is_file():
        raise ValueError(
            f"model: no model at {folder}: give 'pocket', a folder with a config.json, or a name on the hub"
        )
    return folder, str(folder) if local else name


def digest(paths: Iterable[Path]) -> str:
    """A short hash of files."""
    found = hashlib.sha256()
    for file in sorted(paths):
        with file.open("rb") as handle:
            while block := handle.read(1 << 24):
                found.update(block)
    return found.hexdigest()[:12]


def hashes(tokenizer: Any) -> dict[str, str]:
    """What a run records of a tokenizer: its template and its vocabulary."""
    told = {"template": str(tokenizer.chat_template), "tokenizer": repr(sorted(tokenizer.get_vocab().items()))}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:12] for name, text in told.items()}
