"""The settings with which icrl runs vLLM, for the engine in this process and for `icrl serve` alike.

Turns of a game are short and share all but their ends, so prompts are cached in small blocks. Answers are asked for by
token, with many log-probabilities. A model computes in the numbers in which it is stored, as with transformers, where
vLLM would halve float32. The sampling that its `generation_config.json` proposes (top-k, penalties) is not taken: it
would be another policy.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from icrl.models.adapters import read
from icrl.models.points import MOST
from icrl.models.steering import SteeringVector
from icrl.models.vllm_adapters import STARTED
from icrl.models.vllm_keys import VARIABLE
from icrl.models.weights import digest, place, readable

Device = Literal["cpu", "gpu"]
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM has kernels for."""
DTYPES = ("auto", "float32", "bfloat16", "float16")
TOGETHER = 4
"""Adapters that one pass may have, where they are loaded while the server runs."""
CPU_WINDOW, CPU_WINDOWS, GIB = 16384, 4, 2**30
WORKER, MIDDLEWARE = "icrl.models.vllm_worker.SteeringWorker", "icrl.models.vllm_middleware.SteeringMiddleware"
"""What steers: vLLM imports these by their names."""
MISSING = (
    "vllm: it is not installed here: for a GPU `pip install 'icrl[vllm]'` brings it; for a CPU, "
    "`make test-vllm` in a checkout of icrl installs what constraints-vllm.txt lists"
)


def device() -> Device:
    """What the vLLM that is installed here runs on; found by importing it, as its CPU build has another name.

    Raises:
        ValueError: There is no vLLM, or it cannot be imported, or it finds nothing to run on.
    """
    try:
        import vllm  # noqa: F401
        from vllm.platforms import current_platform
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "vllm":
            raise ValueError(MISSING) from error
        raise ValueError(f"vllm: it is installed here but cannot be imported: {error}") from error
    if current_platform.is_unspecified():
        raise ValueError("vllm: the build that is installed here is for a GPU, and it finds none")
    return "cpu" if current_platform.is_cpu() else "gpu"


def options(
    name: str,
    *,
    device: Device,
    revision: str | None = None,
    adapters: Mapping[str, Path] | None = None,
    lora_rank: int | None = None,
    dtype: str = "auto",
    window: int | None = None,
    kv_gib: float | None = None,
    steering: bool = False,
) -> dict[str, Any]:
    """Settings of vLLM's engine by their names in Python: `LLM(**options(...))`.

    Args:
        name: `pocket`, a local folder, or a name on the hub.
        device: What it will run on.
        revision: Branch, tag or commit on the hub.
        adapters: LoRA adapters by name, as folders in PEFT's format, that will be used.
        lora_rank: Highest rank of adapters that may be loaded later; None: that of `adapters`, without any no LoRA.
        dtype: `auto` (as stored), `float32`, `bfloat16`, ...
        window: Most tokens of a prompt and its answer; None: the model's, but on a CPU at most 16,384.
        kv_gib: GiB for cached prompts; None: on a CPU four windows and at least 1, on a GPU what vLLM finds.
        steering: Whether requests can be steered.

    Raises:
        ValueError: There is no such model or adapter, or an adapter has too high a rank, or the window is too wide.
    """
    if kv_gib is not None and not 0 < kv_gib < math.inf:
        raise ValueError(f"kv_gib: must be a number above 0, got {kv_gib}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype: must be one of {', '.join(DTYPES)}, got {dtype!r}")
    config, path = config_of(name, revision)
    dtype = dtype if dtype != "auto" or config.dtype is None else str(config.dtype).removeprefix("torch.")
    settings = {
        "model": path,
        **({} if revision is None else {"revision": revision}),
        "dtype": dtype,
        "seed": 0,
        "generation_config": "vllm",
        "max_logprobs": MOST,
        "enable_prefix_caching": True,
        "block_size": 32 if device == "cpu" else 16,  # attention on a CPU takes multiples of 32 only
        **_lora(adapters or {}, lora_rank),
        **_window(name, config, window, device),
    }
    if device == "cpu":
        kv_gib = kv_gib or _room(config, settings["max_model_len"], dtype)
        # A generator that was seeded cannot be continued on a CPU, so a prompt is read in one piece.
        settings |= {"enforce_eager": True, "enable_chunked_prefill": False}
        settings["max_num_batched_tokens"] = max(settings["max_model_len"], 2048)
    if steering:  # compiled models and CUDA graphs skip Python's hooks, so every device is eager
        settings |= {"enforce_eager": True, "worker_extension_cls": WORKER}
    return settings | ({} if kv_gib is None else {"kv_cache_memory_bytes": round(kv_gib * GIB)})


def environment(steering: str = "") -> dict[str, str]:
    """The environment variables for vLLM's process; what the user has set stands.

    Args:
        steering: Turns steering on; for a server, where its vectors are.
    """
    own = {"VLLM_NO_USAGE_STATS": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", STARTED: "1"}
    if steering:  # vLLM's second model runner has other insides than the first, which are not known here
        return own | {"VLLM_USE_V2_MODEL_RUNNER": "0"} | dict(os.environ) | {VARIABLE: steering}
    return own | dict(os.environ)


def _lora(adapters: Mapping[str, Path], most: int | None) -> dict[str, Any]:
    ranks = {name: read(str(folder)).rank for name, folder in adapters.items()}
    for name, found in ranks.items():
        if found > (most or RANKS[-1]):
            raise ValueError(f"adapter.{name}: its rank is {found}, but lora_rank allows {most or RANKS[-1]}")
    needed = max(ranks.values(), default=0) if most is None else most
    if most is not None and not 1 <= most <= RANKS[-1]:
        raise ValueError(f"lora_rank: vLLM takes ranks from 1 to {RANKS[-1]}, got {most}")
    if not needed:
        return {}
    allowed = next(r for r in RANKS if r >= needed)
    return {"enable_lora": True, "max_lora_rank": allowed, "max_loras": max(len(adapters), TOGETHER)}


def config_of(name: str, revision: str | None) -> tuple[Any, str]:
    """The configuration of a model and what vLLM is to be asked for."""
    from transformers import AutoConfig

    _, path = place(name)
    with readable(name):
        return AutoConfig.from_pretrained(path, revision=revision), path


def identity(name: str, revision: str | None) -> str:
    """The commit of the hub, or a hash of local weights."""
    weights = sorted(place(name)[0].glob("*.safetensors"))
    if weights:
        return digest(weights)
    commit: Any = getattr(config_of(name, revision)[0], "_commit_hash", None)  # absent on a config read from a folder
    return str(commit or revision)


def check_vector(vector: SteeringVector, name: str, revision: str | None, identity: str) -> None:
    """Raises ValueError unless a model can be steered by a vector; `identity` is that of its weights."""
    config = config_of(name, revision)[0].get_text_config()
    vector.fits(width=config.hidden_size, depth=config.num_hidden_layers, revision=identity, name=name)


def _window(name: str, config: Any, window: int | None, device: Device) -> dict[str, int]:
    """A window, where the model's own is not to be taken."""
    most: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    if window is not None and not 1 <= window <= (most or window):
        raise ValueError(f"window: {name} reads from 1 to {most or 'any number of'} tokens, got {window}")
    if window is None and device == "gpu":
        return {}
    return {"max_model_len": window or min(most or CPU_WINDOW, CPU_WINDOW)}


def _room(config: Any, window: int, dtype: str) -> int:
    """GiB of keys and values for a few windows, at least 1 and at most a quarter of this machine's memory."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    token = 2 * text.num_hidden_layers * heads * size * (4 if dtype == "float32" else 2)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // GIB
    return max(1, min(math.ceil(CPU_WINDOWS * window * int(token) / GIB), memory // 4))
