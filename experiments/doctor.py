"""What works on this machine, and why the rest does not."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import packages_distributions, version

Finding = tuple[str, bool, str]
_EXTRA = {"torch": "model", "transformers": "model", "openai": "http", "tenacity": "http"}


def examine(servers: Sequence[str] = ()) -> list[Finding]:
    """Each part, whether it works here, and the version or the reason; `servers`: addresses of model servers."""
    parts: list[tuple[str, Callable[[], str]]] = [
        ("classical agents", _classical),
        ("run folder (SQLite)", lambda: sqlite3.sqlite_version),
        ("transformers models", lambda: f"torch {_imported('torch')}, transformers {_imported('transformers')}"),
        ("GPU", _gpu),
        ("embedded model pocket", _pocket),
        ("vLLM engine", _vllm),
        ("HTTP servers", _http),
        ("fine-tuning", lambda: f"trl {_imported('trl')}, peft {_imported('peft')}, datasets {_imported('datasets')}"),
        *((f"server {url}", partial(_server, url)) for url in servers),
    ]
    return [_finding(name, check) for name, check in parts]


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return name, True, check()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return name, False, str(error)


def _imported(package: str) -> str:
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        extra = _EXTRA.get(package, "train")
        raise RuntimeError(f"{error.name} is not installed: pip install 'icrl[{extra}]'") from error
    return version(package)


def _classical() -> str:
    from icrl.agents import UCB, rollout
    from icrl.envs import make

    rollout(UCB(), make("bernoulli-easy"), episodes=1)
    return "UCB played a game"


def _gpu() -> str:
    _imported("torch")
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no CUDA device; models run on the CPU")
    return torch.cuda.get_device_name()


def _vllm() -> str:
    """By its module, as its CPU build is another distribution."""
    from icrl.models.vllm_options import device

    kind = device()
    found = sorted({f"{name} {version(name)}" for name in packages_distributions().get("vllm", [])})
    return f"{', '.join(found) or 'vllm'}, on the {kind.upper()}"


def _http() -> str:
    return ", ".join(f"{package} {_imported(package)}" for package in ("openai", "tenacity", "transformers"))


def _server(url: str) -> str:
    from icrl.models.connect import describe

    return describe(url)


def _pocket() -> str:
    _imported("transformers")
    from icrl.agents import LLMAgent, rollout
    from icrl.envs import make
    from icrl.models import load_model

    model = load_model("pocket")
    runs = rollout(LLMAgent(model), make("bernoulli-easy", horizon=3), episodes=1)
    mass = 0.0 if runs.mass is None else float(runs.mass.mean())
    return f"played a game, label mass {mass:.2f}"
