"""Frozen values that a YAML file can hold, and the sentence about a key that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Spec(BaseModel):
    """A frozen value; an unknown key is an error that names the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        if isinstance(given, dict):
            check_keys(given, cls.model_fields, cls.__name__)
        return given


def check_keys(given: Iterable[str], known: Collection[str], where: str) -> None:
    """Raises ValueError for the first key that is not known, with the nearest one that is."""
    for key in given:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}{nearest(str(key), known)} Allowed: {', '.join(known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """`, did you mean ...?` where something similar is known, else a full stop."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f", did you mean {near[0]!r}?" if near else "."
