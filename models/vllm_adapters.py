"""A mending of vLLM's CPU build, which adds the last adapter that it holds to requests that ask for none.

A token without an adapter has the index -1. The GPU's kernels skip it; those of torch, which the CPU has, take it for
the last of the stacked weights, so a request for the base that is read together with one for an adapter gets another
model's answer (https://github.com/vllm-project/vllm/pull/48421, open). Its inputs are made 0 here, and so is what is
added.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

STARTED = "ICRL_VLLM"
"""The environment variable of vLLM's processes that icrl has started."""
NAMES = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")
"""The operations that the others go through."""


def mend() -> None:
    """Mends vLLM in this process, if it is the CPU's; may be called again."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    for name in NAMES:
        plain = getattr(lora_ops, name)
        if plain.__name__ == name:  # not mended yet
            for module in (lora_ops, punica_cpu):
                setattr(module, name, only_where_asked(plain))


def only_where_asked(plain: Callable[..., None]) -> Callable[..., None]:
    """An operation that adds nothing to tokens whose index is -1."""

    @functools.wraps(plain)
    def mended(inputs: Any, weights: Any, output: Any, indices: Any, *rest: Any, **named: Any) -> None:
        asked = indices >= 0
        if not bool(asked.all()):
            inputs = inputs * asked[: len(inputs), None].to(inputs.dtype)
        plain(inputs, weights, output, indices, *rest, **named)

    mended.__name__ = f"mended_{plain.__name__}"
    return mended
