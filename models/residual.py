"""The residual stream of a transformers model: reading it behind its decoder blocks, and adding to it.

Hooks are there within a `with` only, and gone after it, whatever happens inside. They see the output of a block: the
residual stream itself, alone or as the first of a tuple.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from icrl.models.steering import Steer

Change = Callable[[Tensor], Tensor]
"""From a block's states [..., d] to what stands in their place."""


def blocks(model: Any) -> Sequence[nn.Module]:
    """The decoder blocks of a causal language model.

    Raises:
        ValueError: They are not one list of modules.
    """
    depth = model.config.get_text_config().num_hidden_layers
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    if not lists:
        raise ValueError(f"steering: {type(model).__name__} has no list of its {depth} decoder blocks")
    return list(lists[0])


@contextmanager
def changed(modules: Sequence[nn.Module], changes: Mapping[int, Change]) -> Iterator[None]:
    """Has the outputs of some modules changed, by their index."""
    with ExitStack() as stack:
        for index, change in changes.items():
            stack.callback(modules[index].register_forward_hook(_hook(change)).remove)
        yield


def _hook(change: Change) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        if isinstance(output, tuple | list):
            return type(output)((change(output[0]), *output[1:]))
        return change(output)

    return hook


@contextmanager
def read(modules: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Collects what each module gives, at the last column: [R, d] by index, of the last pass."""
    found: dict[int, Tensor] = {}

    def kept(index: int) -> Change:
        def keep(states: Tensor) -> Tensor:
            found[index] = states[:, -1].clone()  # a view would keep the states of all tokens
            return states

        return keep

    with changed(modules, {i: kept(i) for i in range(len(modules))}):
        yield found


def moved(states: Tensor, direction: Tensor, strength: Tensor, rotates: Tensor) -> Tensor:
    """The residual stream with a direction added; computed in float32.

    Args:
        states: [..., d]
        direction: [..., d] float32; may be broadcast.
        strength: [..., 1] float32; where it is 0, nothing changes.
        rotates: bool[..., 1] where the length is kept, as in-context vectors do: with v the unit direction and x a
            state, |x| * unit(unit(x) + strength * (1 + max(0, cos(x, -v))) * v) (Liu et al. 2023, section 3.3); of a
            negative strength, v is the contrary one throughout.
    """
    x = states.float()
    plain = x + strength * direction
    if rotates.any():
        unit = torch.nn.functional.normalize
        v = unit(direction, dim=-1) * strength.sign()
        against = (-(unit(x, dim=-1) * v).sum(-1, keepdim=True)).clamp(min=0)
        turned = unit(unit(x, dim=-1) + strength.abs() * (1 + against) * v, dim=-1) * x.norm(dim=-1, keepdim=True)
        plain = torch.where(rotates, turned, plain)
    return torch.where(strength == 0, states, plain.to(states.dtype))


def changes(steers: Sequence[Steer | None], positions: Tensor, real: Tensor) -> dict[int, Change]:
    """How a batch is steered, layer by layer.

    Args:
        steers: [R] of each row.
        positions: [R, q] of the tokens that are fed.
        real: bool[R, q] which of them are tokens; the others are padding.
    """
    live = [s if s is not None and s.strength else None for s in steers]
    starts = torch.tensor([s.start if s else 0 for s in live])[:, None]
    there = real & (positions >= starts)
    return {layer: _change(layer, live, there) for layer in sorted({n for s in live if s for n in s.vector.layers})}


def _change(layer: int, steers: Sequence[Steer | None], there: Tensor) -> Change:
    """Of one layer; `there`: bool[R, q]."""
    width = next(s.vector.width for s in steers if s)
    direction, strength = torch.zeros(len(steers), 1, width), torch.zeros(len(steers), 1, 1)
    rotates = torch.zeros(len(steers), 1, 1, dtype=torch.bool)
    for row, steer in enumerate(steers):
        if steer and layer in steer.vector.layers:
            direction[row, 0] = torch.tensor(steer.vector.directions[steer.vector.layers.index(layer)])
            strength[row], rotates[row] = steer.strength, steer.vector.keeps_norm
    each = strength * there[:, :, None]

    def change(states: Tensor) -> Tensor:
        return moved(states, *(x.to(states.device) for x in (direction, each, rotates)))

    return change
