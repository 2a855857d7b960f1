"""What is told before one choice: the context in words, and which arms are there."""

from __future__ import annotations

from collections.abc import Sequence

from icrl.envs.types import View
from icrl.envs.words import told
from icrl.prompts.scenario import listed


def seen(template: str, view: View, row: int, names: Sequence[str], variable: bool) -> list[str]:
    """One row's texts that are encoded apart, labels among them.

    Args:
        template: The scenario's text, around `{seen}`.
        view: What is seen.
        row: Of which row of it.
        names: [K] labels.
        variable: Whether arms may be missing.
    """
    before, after = template.split("{seen}")
    there = (before, *_present(view, row, names), after) if variable else ()
    return [*_context(before, after, view, row, names), *there]


def _context(before: str, after: str, view: View, row: int, names: Sequence[str]) -> list[str]:
    """A context in words; the features of several arms in lines of their own."""
    if view.obs is not None:
        return [before + view.obs[row] + after]
    if view.context is None:
        return []
    if view.context.ndim == 2:
        return [before + told(view.context[row : row + 1])[0] + after]
    features = zip(names, told(view.context[row]), strict=True)
    return [before.rstrip(" ") + "\n", *(text for name, own in features for text in (name, f": {own}\n"))]


def _present(view: View, row: int, names: Sequence[str]) -> list[str]:
    """The labels of the arms that are there."""
    there = [name for name, here in zip(names, view.legal[row].tolist(), strict=True) if here]
    return listed(there)
