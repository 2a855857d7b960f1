"""What of a weight may be learnt: all of it, some, or one size for a part."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch


class Rules:
    """Collects what is to stay, and then has it stay, by hooks on gradients (so without weight decay)."""

    def __init__(self) -> None:
        self.learns = dict[torch.Tensor, torch.Tensor]()
        self.parts = dict[torch.Tensor, list[torch.Tensor]]()

    def keep(self, weight: torch.Tensor, *at: Any) -> None:
        """What stands there stays."""
        self.learns.setdefault(weight, torch.ones_like(weight))[at] = 0.0

    def scale(self, weight: torch.Tensor, *at: Any) -> None:
        """What stands there grows or shrinks as one: Adam moves equal gradients equally, away from 0 or towards it."""
        self.keep(weight, *at)
        part = torch.zeros_like(weight)
        part[at] = weight[at].sign()
        self.parts.setdefault(weight, []).append(part)

    def apply(self) -> None:
        """From now on."""
        for weight, learns in self.learns.items():
            parts = self.parts.get(weight, [])
            weight.register_hook(partial(_allowed, learns=learns, parts=parts))  # type: ignore[no-untyped-call]


def _allowed(grad: torch.Tensor, learns: torch.Tensor, parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """A gradient along what may be learnt; the model may have moved to another device since it was built."""
    allowed = grad * learns.to(grad.device)
    for part in (part.to(grad.device) for part in parts):
        allowed += part * (grad * part).sum() / part.abs().sum()
    return allowed
