"""A plugin of vLLM, which loads it in each of its processes; it does nothing in those that icrl has not started.

Requests without an adapter get none (`vllm_adapters`), and steered states are cached for those steered alike only.
vLLM finds what it has computed by a hash per block of tokens, chained over the prompt. A block that reaches past the
first steered token gets the steering into its hash; all blocks before it are clean, and shared with everyone. So the
next turn of a conversation, which is steered from a later token on, computes the dirty blocks again, and those only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from icrl.models import vllm_adapters
from icrl.models.vllm_keys import NAME, VARIABLE, asked

Keys = Callable[[Any, int, int, int], tuple[tuple[Any, ...] | None, int]]
"""From a request, a block's first token and the one after it, and what concerns images, to what its hash adds."""


def register() -> None:
    """Mends vLLM in this process, and has it tell steered blocks apart if it is to steer; may be called again."""
    if os.environ.get(vllm_adapters.STARTED):
        vllm_adapters.mend()
    if not os.environ.get(VARIABLE) or is_live():
        return
    from vllm.v1.core import block_pool, kv_cache_utils

    keys = steered(kv_cache_utils.generate_block_hash_extra_keys)
    for module in (kv_cache_utils, block_pool):  # the second has its own name for it, and tells listeners by that
        module.generate_block_hash_extra_keys = keys


def steered(plain: Keys) -> Keys:
    """What the hash of a block adds, with the steering of its request."""

    def keys(request: Any, start: int, end: int, images: int) -> tuple[tuple[Any, ...] | None, int]:
        found, images = plain(request, start, end, images)
        params = request.sampling_params
        own = asked(params.extra_args, request.num_prompt_tokens) if params is not None else None
        if own is None or end <= own.start:
            return found, images
        return (*(found or ()), (NAME, f"{own.digest} {own.strength!r} {own.start}")), images

    return keys


def is_live() -> bool:
    """Whether steered blocks are told apart in this process."""
    from vllm.v1.core import kv_cache_utils

    return bool(kv_cache_utils.generate_block_hash_extra_keys.__module__ == __name__)
