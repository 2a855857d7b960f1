"""Contexts in words."""

from __future__ import annotations

from icrl.envs.types import Floats

DECIMALS = 2


def told(context: Floats, decimals: int = DECIMALS) -> tuple[str, ...]:
    """Each row's context as text, its numbers rounded to `decimals`; features of several arms in lines.

    Args:
        context: [R, d] or [R, K, d].
        decimals: Digits behind the point.
    """
    if context.ndim == 3:
        return tuple("\n".join(told(row, decimals)) for row in context)
    return tuple(", ".join(f"{x:z.{decimals}f}" for x in row) for row in context.tolist())  # z: never "-0.00"
