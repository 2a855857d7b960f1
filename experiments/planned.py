"""A folder that belongs to a plan: it says so in a file, and another plan's is left alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def is_of(file: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether a file holds a plan, or what of it matters.

    Raises:
        ValueError: It holds another one.
    """
    if not file.is_file():
        return False
    found = known(file)
    for key in wanted:
        if found.get(key) != wanted[key]:
            raise ValueError(
                f"out: {file.parent} is of another plan: its {key} is {found.get(key)!r}, now it is {wanted[key]!r}; "
                "give another folder, or the plan that began there"
            )
    return True


def known(file: Path) -> dict[str, Any]:
    """What a file says of a plan.

    Raises:
        ValueError: It cannot be read, or holds something else.
    """
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"out: {file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"out: {file} holds no plan")
    return found


def claim(file: Path, wanted: Mapping[str, Any], begun: bool) -> None:
    """Makes a folder a plan's; one in which nothing was begun may have been another's, which failed.

    Raises:
        ValueError: What was begun there is of another plan.
    """
    if not begun or not is_of(file, wanted):
        keep(file, wanted)


def keep(file: Path, wanted: Mapping[str, Any]) -> None:
    """Writes what `is_of` reads, unless it is there: several processes may ask for the same at once."""
    told = json.dumps(wanted, indent=2)
    if file.is_file() and file.read_bytes() == told.encode():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = file.with_suffix(".new")
    whole.write_text(told, encoding="utf-8")
    whole.replace(file)
