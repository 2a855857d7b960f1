"""Frozen values that a YAML file can hold, the sentences about what cannot be one, and how such a file is read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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
        raise ValueError(sentence(error, where or kind.__name__, fields)) from error


@contextmanager
def placed(where: str, *also: type[Exception]) -> Iterator[None]:
    """Says of errors inside where in a file they arose; of ValueErrors, and of other kinds that a library raises."""
    kinds: tuple[type[Exception], ...] = (ValueError, *also)
    try:
        yield
    except kinds as error:
        raise ValueError(f"{where}: {error}") from error


def sentence(error: ValidationError, where: str, fields: Mapping[str, Any]) -> str:
    """What is wrong with which of `fields`, without pydantic's own trimmings."""
    return "; ".join(dict.fromkeys(_told(found, where, fields) for found in _meant(error.errors(), fields)))


def _told(found: ErrorDetails, where: str, fields: Mapping[str, Any]) -> str:
    """One error."""
    parts = [str(part) for part, own in zip(found["loc"], _own(found, fields), strict=True) if own]
    message, given = found["msg"], f", got {found['input']!r}"
    if found["type"] in ("value_error", "missing"):
        message, given = message.removeprefix("Value error, "), ""
        if parts and message.startswith((f"{parts[-1]}.", f"{parts[-1]}: ")):  # it names its own place
            return f"{'.'.join((where, *parts[:-1]))}.{message}"
    if found["type"] == "extra_forbidden":  # what is not known may be a secret
        message, given = "there is no such field", ""
    if found["type"].startswith("union_tag"):
        message, given = _no_kind(found["ctx"]), ""
    message = message.replace("valid tuple", "valid list")  # a file has none
    return f"{'.'.join((where, *parts))}: {message}{given}"


def _no_kind(about: dict[str, Any]) -> str:
    """That what tells types apart is missing, or that there is no such type."""
    name = about["discriminator"][1:-1]
    if "tag" not in about:
        return f"its {name} is missing"
    known = about["expected_tags"].replace("'", "").split(", ")
    return f"unknown {name} {about['tag']!r}{nearest(about['tag'], known)} Known: {', '.join(known)}"


def _own(found: ErrorDetails, given: Any) -> list[bool]:
    """Which parts of an error's place stand in what was given, or are missing there; the others name pydantic's types.

    The kind of a mapping is such a name, too, even where a field is called alike.
    """
    own, kind = list[bool](), _kind(given)
    for part in found["loc"]:
        inside = part != kind and _holds(given, part)
        own.append(inside)
        given, kind = (given[part], _kind(given[part])) if inside else (given, None if part == kind else kind)
    if own and found["type"] == "missing":
        own[-1] = True
    return own


def _kind(given: Any) -> Any:
    return given.get("kind") if isinstance(given, Mapping) else None


def _holds(given: Any, part: int | str) -> bool:
    if isinstance(given, list | tuple):
        return isinstance(part, int) and part < len(given)
    return isinstance(given, Mapping) and part in given


def _meant(errors: list[ErrorDetails], fields: Mapping[str, Any]) -> list[ErrorDetails]:
    """Where a value is none of several types, what is wrong with the one that comes nearest to it."""
    unions: dict[tuple[int | str, ...], dict[int | str, list[ErrorDetails]]] = {}
    for found in errors:
        for i, own in enumerate(_own(found, fields)):
            if not own:
                unions.setdefault(found["loc"][:i], {}).setdefault(found["loc"][i], []).append(found)
    far = set[int]()
    for place, members in unions.items():
        near = {member: _nearness(about, len(place) + 1) for member, about in members.items()}
        far |= {id(found) for m, about in members.items() if near[m] < max(near.values()) for found in about}
    left = [found for found in errors if id(found) not in far]
    return [found for found in left if not any(_inside(other["loc"], found["loc"]) for other in left)]


def _inside(place: tuple[int | str, ...], around: tuple[int | str, ...]) -> bool:
    """Whether a place is a part of another: what is wrong with the whole follows from it."""
    return len(place) > len(around) and place[: len(around)] == around


def _nearness(about: list[ErrorDetails], depth: int) -> tuple[bool, bool, int]:
    """Of a type: whether its fields were looked at, or it was refused for more than its type; how little is wrong."""
    deep = any(len(found["loc"]) > depth for found in about)
    mere = all(found["type"].endswith("_type") or found["type"] == "literal_error" for found in about)
    return deep, deep or not mere, -len(about)


class Loader(yaml.SafeLoader):
    """YAML in which no key comes twice, and 1e-4 is a number, as in YAML 1.2."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for i, key in enumerate(keys) if key in keys[:i]]:
            raise yaml.YAMLError(f"the key {twice[0]!r} comes twice, line {node.start_mark.line + 1} and below")
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
