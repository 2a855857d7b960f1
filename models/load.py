"""`load_model`: from a name to a served model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from icrl.models.base import Loaded, Model
from icrl.models.settings import ServerSettings
from icrl.models.weights import digest, place, readable, tokenizer_of

URLS, ENGINE = ("http://", "https://"), "vllm:"


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device_map: str | None = None,
    adapter: str | Path | None = None,
    chat_template: str | Path | None = None,
    server: ServerSettings | None = None,
) -> Model:
    """Loads a language model with transformers or with vLLM, from safetensors only, or finds one on a server.

    Args:
        name: `pocket` (the embedded test bed), a local folder, or a name on the hub; `vllm:` before it has vLLM run it
            in this process; or the address of an OpenAI-compatible server, `http://HOST:PORT/v1`, of several with
            commas between them.
        revision: Branch, tag or commit on the hub.
        dtype: `auto` (as stored), `float32`, `bfloat16`, ...
        device_map: Where to put the weights, e.g. `auto` or `cpu`; None: on the GPU, if there is one.
        adapter: A LoRA adapter to apply: a local folder in PEFT's format, a name on the hub, or one that a server has.
        chat_template: A template to use instead of the tokenizer's: its text, or a file.
        server: How servers are asked.

    Raises:
        ValueError: There is no such model, or it cannot be read.
        ServerLost: A server does not answer.
    """
    base = load_base(
        name, revision=revision, dtype=dtype, device_map=device_map, chat_template=chat_template, server=server
    )
    return base if adapter is None else base.adapted(str(adapter))


def load_base(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device_map: str | None = None,
    chat_template: str | Path | None = None,
    server: ServerSettings | None = None,
    quantization: Mapping[str, Any] | None = None,
) -> Loaded:
    """The same without an adapter: of what it gives, models with adapters are made that share its weights.

    `quantization`: fields of `transformers.BitsAndBytesConfig`, for what transformers loads.
    """
    name = str(name)
    if name.lower().startswith(URLS):
        from icrl.models.connect import connect

        _as_served(name, dtype=dtype if dtype != "auto" else None, device_map=device_map)
        return connect(name, ServerSettings.model_validate(server or {}), revision, chat_template)
    if server is not None:
        raise ValueError(f"server: only models at http://… are asked over a wire, got {name!r}")
    if name.startswith(ENGINE):
        from icrl.models.engine import engine

        _as_served(name, device_map=device_map)
        return engine(name.removeprefix(ENGINE), revision, dtype, chat_template)
    tokenizer = load_tokenizer(name, revision=revision, chat_template=chat_template)
    return _load(name, tokenizer, revision, dtype, device_map, quantization)


def is_served(name: str) -> bool:
    """Whether a server or vLLM runs the model, and not transformers."""
    return name.lower().startswith((*URLS, ENGINE))


def _as_served(name: str, **given: str | None) -> None:
    """Raises ValueError for what only transformers can be told."""
    if told := [key for key, value in given.items() if value is not None]:
        raise ValueError(f"{told[0]}: it is not ours to choose for {name!r}, got {given[told[0]]!r}")


def _load(
    name: str,
    tokenizer: Any,
    revision: str | None,
    dtype: str,
    device_map: str | None,
    quantization: Mapping[str, Any] | None,
) -> Loaded:
    """A transformers model without adapters, from safetensors only.

    Without a `device_map` it stands on the GPU, if there is one. Where a CPU has no instructions for bfloat16, a model
    that is stored so is computed in float32, unless `dtype` says otherwise.

    Raises:
        ValueError: It cannot be read.
    """
    import transformers
    from transformers.utils import is_bitsandbytes_available

    from icrl.models.hf import TransformersModel

    folder, path = place(name)
    if quantization and not is_bitsandbytes_available():
        raise ValueError("quantization: it needs bitsandbytes; `pip install 'icrl[qlora]'` brings it")
    with _quantized(quantization), readable(name):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path,
            revision=revision,
            dtype=dtype,
            device_map=device_map,
            use_safetensors=True,
            quantization_config=transformers.BitsAndBytesConfig(**quantization) if quantization else None,
        )
    if not quantization:  # such weights stay where and as they were loaded
        model = _settled(model, dtype, device_map)
    commit: Any = getattr(model.config, "_commit_hash", None)  # absent on a config read from a folder
    served = TransformersModel(name, model.eval(), tokenizer, commit or digest(folder.glob("*.safetensors")))
    served.warm_up()
    return served


def _settled(model: Any, dtype: str, device_map: str | None) -> Any:
    """A model on the device, and in the numbers, that it is to compute with."""
    import torch

    if device_map is None and torch.cuda.is_available():
        model = model.to("cuda")
    if dtype == "auto" and model.dtype == torch.bfloat16 and model.device.type == "cpu" and not _halves():
        model = model.float()
    return model


@contextmanager
def _quantized(settings: Mapping[str, Any] | None) -> Iterator[None]:
    """Turns what bitsandbytes says of settings into one sentence."""
    try:
        yield
    except (AttributeError, RuntimeError, TypeError) as error:
        if not settings:
            raise
        raise ValueError(f"quantization: {dict(settings)} is refused: {error}") from error


def _halves() -> bool:
    """Whether this CPU computes in bfloat16 itself."""
    from torch import cpu

    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())


def load_window(name: str, revision: str | None, tokenizer: Any) -> int:
    """Most tokens that a model of transformers reads, found without its weights."""
    from transformers import AutoConfig

    from icrl.models.hf import window_of

    with readable(name):
        return window_of(AutoConfig.from_pretrained(place(name)[1], revision=revision), tokenizer)


def load_tokenizer(
    name: str | Path,
    *,
    revision: str | None = None,
    chat_template: str | Path | None = None,
    server: ServerSettings | None = None,
) -> Any:
    """The tokenizer of a model, without its weights; arguments and errors as of `load_model`."""
    name = str(name)
    if name.lower().startswith(URLS):
        return load_base(name, revision=revision, chat_template=chat_template, server=server).tokenizer
    return tokenizer_of(name.removeprefix(ENGINE), revision, chat_template)
