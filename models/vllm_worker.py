"""What icrl adds to the workers of vLLM: vectors, and hooks on the decoder blocks that add them, request by request.

Before each pass of the model it is found out which of its tokens are steered, and how; where none is, the hooks give
back at once. Passes that warm vLLM up or measure it serve no requests, and are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.logger import init_logger
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from icrl.models import vllm_plugin
from icrl.models.residual import blocks, moved
from icrl.models.steering import SteeringVector
from icrl.models.vllm_keys import VARIABLE, Asked, asked, rows

_log = init_logger(f"vllm.{__name__}")  # vLLM shows what is under its own name


@dataclass(frozen=True)
class Plan:
    """What is added behind one block in one pass.

    Attributes:
        rows: [n] the tokens.
        direction: [n, d] float32, or [1, d] if it is the same for all.
        strength: [n, 1] float32
        rotates: bool[n, 1] which keep their length; a single False if none does.
    """

    rows: Tensor
    direction: Tensor
    strength: Tensor
    rotates: Tensor

    def apply(self, output: Any) -> Any:
        """The output of a block with the plan's tokens moved.

        Blocks give the residual stream in two summands, of which only the first is changed, or as it is.
        """
        several = isinstance(output, tuple)
        hidden, *rest = output if several else (output,)
        split = bool(rest) and isinstance(rest[0], Tensor) and rest[0].shape == hidden.shape
        other = rest[0][self.rows].float() if split else 0.0
        new = moved(hidden[self.rows].float() + other, self.direction, self.strength, self.rotates) - other
        hidden = hidden.index_copy(0, self.rows, new.to(hidden.dtype))
        return (hidden, *rest) if several else hidden


@dataclass
class Hooks:
    """The hooks of one worker.

    Attributes:
        runner: vLLM's model runner.
        vectors: By digest.
        directions: [d] float32, by digest and layer, where the model is.
        scheduled: What the scheduler wants of the pass that is under way, if it serves requests.
        plans: Of that pass, by layer.
    """

    runner: Any
    vectors: dict[str, SteeringVector] = field(default_factory=dict)
    directions: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    scheduled: Any = None
    plans: dict[int, Plan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        execute = self.runner.execute_model

        def noted(scheduled: Any, *args: Any, **more: Any) -> Any:
            self.scheduled = scheduled
            try:
                return execute(scheduled, *args, **more)
            finally:
                self.scheduled, self.plans = None, {}

        self.runner.execute_model = noted
        self.runner.model.register_forward_pre_hook(self._plan)
        for layer, block in enumerate(blocks(self.runner.model)):
            block.register_forward_hook(self._hook(layer))

    def add(self, vector: SteeringVector) -> None:
        """Makes a vector known."""
        for layer, direction in zip(vector.layers, vector.directions, strict=True):
            self.directions[vector.digest, layer] = torch.tensor(direction).to(self.runner.device)
        self.vectors[vector.digest] = vector

    def _hook(self, layer: int) -> Callable[..., Any]:
        def hook(_module: Any, _args: Any, output: Any) -> Any:
            return self.plans[layer].apply(output) if layer in self.plans else None

        return hook

    def _plan(self, _module: Any, _args: Any) -> None:
        """Plans the pass that begins."""
        self.plans = {}
        if self.scheduled is None or not self.scheduled.total_num_scheduled_tokens:
            return
        batch, counts = self.runner.input_batch, self.scheduled.num_scheduled_tokens
        wanted = [self._wanted(self.runner.requests[request]) for request in batch.req_ids]
        if any(wanted):
            starts = [own.start if own else None for own in wanted]
            sizes = [counts[request] for request in batch.req_ids]
            found = rows(zip(sizes, batch.num_computed_tokens_cpu.tolist(), starts, strict=False))
            each = [(own, at) for own, at in zip(wanted, found, strict=True) if own and len(at)]
            layers = {layer for own, _ in each for layer in self.vectors[own.digest].layers}
            self.plans = {layer: self._of(layer, each) for layer in layers}

    def _wanted(self, request: Any) -> Asked | None:
        """The steering of a request; that it names a vector which is here was seen to before."""
        params = request.sampling_params
        own = asked(params.extra_args, request.num_prompt_tokens) if params is not None else None
        if own and own.digest not in self.vectors:
            _log.error("There is no steering vector %s: a request goes on without", own.digest)
            return None
        return own

    def _of(self, layer: int, each: Sequence[tuple[Asked, Any]]) -> Plan:
        """The plan of one layer."""
        mine = [(own, at) for own, at in each if layer in self.vectors[own.digest].layers]
        counts, digests = [len(at) for _, at in mine], [own.digest for own, _ in mine]
        device, unique = self.runner.device, sorted(set(digests))
        direction = torch.stack([self.directions[digest, layer] for digest in unique])
        if len(unique) > 1:
            which = np.repeat([unique.index(digest) for digest in digests], counts)
            direction = direction[torch.from_numpy(which).to(device)]
        turned = [self.vectors[digest].keeps_norm for digest in digests]
        rotates = torch.tensor(False)  # one number stays on the CPU, where it can be read without waiting
        if any(turned):
            rotates = torch.from_numpy(np.repeat(turned, counts)[:, None]).to(device)
        strength = np.repeat(np.array([own.strength for own, _ in mine], np.float32), counts)[:, None]
        at = torch.from_numpy(np.concatenate([at for _, at in mine])).to(device)
        return Plan(at, direction, torch.from_numpy(strength).to(device), rotates)


class SteeringWorker:
    """The class that vLLM mixes into its worker (`worker_extension_cls`); its method is called by name."""

    icrl_hooks: Hooks | None = None

    def icrl_add_vectors(self: Any, paths: list[str]) -> tuple[list[str], str]:
        """Loads vectors from files, and puts hooks into the model the first time.

        Returns:
            The digests of all vectors that are here, and why there cannot be more, if so, in a sentence: an error would
            end vLLM's engine.
        """
        try:
            _check(self)
            self.icrl_hooks = self.icrl_hooks or Hooks(self.model_runner)
            config = self.model_config.hf_config.get_text_config()
            for vector in map(SteeringVector.load, paths):
                own = {"revision": vector.origin.revision, "name": self.model_config.model}
                vector.fits(width=config.hidden_size, depth=config.num_hidden_layers, **own)
                self.icrl_hooks.add(vector)
        except ValueError as error:
            return [], str(error)
        return sorted(self.icrl_hooks.vectors), ""


def _check(worker: Any) -> None:
    """Raises ValueError where hooks would do nothing, or the wrong thing, or where what they do would leak.

    With several workers the cache is kept by another process, where this plugin was loaded from the same environment;
    what is cached there is tried by the probe. All workers add the same vectors to the same, whole, residual stream, or
    in a pipeline each behind its own blocks.
    """
    config = worker.vllm_config
    if not vllm_plugin.is_live():
        raise ValueError(
            f"steering: vLLM has not loaded icrl's plugin, without which it would mix up steered and other states: "
            f"install icrl where vLLM is, set {VARIABLE}, and let VLLM_PLUGINS, if it is set, name icrl"
        )
    if not isinstance(worker.model_runner, GPUModelRunner):
        raise ValueError(
            "steering: this vLLM runs models in a way that icrl does not know; set VLLM_USE_V2_MODEL_RUNNER=0"
        )
    faults = {
        "compiled models (enforce_eager=False)": not config.model_config.enforce_eager,
        "speculative decoding": config.speculative_config is not None,
        "dual batches": config.parallel_config.enable_dbo,
        "key-value connectors": config.kv_transfer_config is not None,
    }
    if any(faults.values()):
        raise ValueError(f"steering: it does not go together with {', '.join(k for k, v in faults.items() if v)}")
