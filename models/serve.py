"""The command line of a vLLM server, and where it listens.

The server is vLLM's own, unchanged, started as a module: its console script fails where vLLM goes by another name.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MODULE = "vllm.entrypoints.openai.api_server"
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def command(
    settings: Mapping[str, Any],
    *,
    name: str,
    adapters: Mapping[str, Path] | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    chat_template: Path | None = None,
    extra: Sequence[str] = (),
) -> list[str]:
    """The command that starts a server.

    Args:
        settings: Of `vllm_options.options`.
        name: What clients call the model.
        adapters: LoRA adapters that are loaded at the start, by the names that clients use.
        host: Where it listens.
        port: Likewise.
        chat_template: A file with a template to use instead of the tokenizer's.
        extra: Arguments of vLLM's own that come last, so that they override the others.

    Raises:
        ValueError: An adapter is called as the model is, or the template is no file.
    """
    if name in (adapters or {}):
        raise ValueError(f"adapter.{name}: that is what the model itself is called; give the adapter another name")
    if chat_template is not None and not chat_template.is_file():
        raise ValueError(f"chat_template: there is no file {str(chat_template)!r}")
    # -P: folders where the user stands must not stand in for modules of vLLM's
    words = [sys.executable, "-P", "-m", MODULE, "--served-model-name", name, "--host", host, "--port", str(port)]
    words += [word for key, value in settings.items() for word in _flag(key, value)]
    words += ["--enable-prompt-tokens-details"]  # so that answers tell how much was cached
    words += ["--lora-modules", *(f"{key}={path}" for key, path in adapters.items())] if adapters else []
    words += ["--chat-template", str(chat_template)] if chat_template else []
    return [*words, *extra]


def _flag(key: str, value: Any) -> list[str]:
    """A setting as vLLM's command line has it."""
    word = key.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{word}" if value else f"--no-{word}"]
    return [f"--{word}", str(value)]


def free(host: str, port: int) -> int:
    """The port, or one that is free if it is 0; vLLM itself would load the model before it looks.

    Raises:
        ValueError: The port is taken, or nothing may listen there.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as found:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((address[0], port))
            return int(found.getsockname()[1])
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(
            f"port: nothing can listen at {host}, port {port} ({why}); --port 0 takes a free one"
        ) from error


def root(host: str, port: int) -> str:
    """The address at which this machine reaches a server that listens there."""
    reached = ANYWHERE.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
