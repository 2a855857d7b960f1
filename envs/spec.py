"""Frozen values that a YAML file can hold, and the sentences about what cannot be one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

T = TypeVar("T")


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


def checked(kind: type[T], fields: dict[str, Any], where: str | None = None) -> T:
    """`kind` from its fields.

    Raises:
        ValueError: With one sentence per bad field.
    """
    try:
        return TypeAdapter(kind).validate_python(fields)
    except ValidationError as error:
        raise ValueError(sentence(error, where or kind.__name__)) from error


def sentence(error: ValidationError, where: str) -> str:
    """What is wrong with which field, without pydantic's own trimmings."""
    parts = []
    for found in error.errors():
        place = ".".join(str(part) for part in found["loc"])
        given = "" if found["type"] in ("value_error", "missing") else f", got {found['input']!r}"
        message = found["msg"].removeprefix("Value error, ")
        parts.append(f"{where}{'.' if place else ''}{place}: {message}{given}")
    return "; ".join(parts)
