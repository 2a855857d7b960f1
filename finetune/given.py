"""Fields of another library's settings, checked before anything is built of them: the libraries themselves do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from inspect import signature
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from icrl.envs.spec import nearest

LEAST = {
    "r": 1,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "num_iterations": 1,
    "logging_steps": 1e-9,
    "num_train_epochs": 1e-9,
    "learning_rate": 0,
    "lora_dropout": 0,
    "beta": 0,
}
"""Of numbers that end in an error far away if they are smaller."""


def fields(where: str, given: Mapping[str, Any], kind: type, ours: Mapping[str, str]) -> dict[str, Any]:
    """The same fields with values of the types that they are declared with: YAML reads `1e-3` as a text.

    Args:
        where: Their place in a plan.
        given: What stands there.
        kind: The settings.
        ours: Fields that are set here, and why.

    Raises:
        ValueError: There is no such field, it is set here, or its value is none that it can have.
    """
    known = list(signature(kind).parameters)
    if odd := [key for key in given if key not in known]:
        near = nearest(odd[0], known)
        raise ValueError(f"{where}: unknown key {odd[0]!r}{near} Allowed: the fields of {kind.__name__}")
    if named := [name for name in given if name in ours]:
        raise ValueError(f"{where}.{named[0]}: it cannot be given here: {ours[named[0]]}")
    hints = get_type_hints(kind if is_dataclass(kind) else vars(kind)["__init__"])
    return {key: _typed(f"{where}.{key}", value, hints.get(key, Any)) for key, value in given.items()}


def _typed(where: str, value: Any, hint: Any) -> Any:
    """A value of a type, which is left as it is where pydantic does not know the type."""
    try:
        kind: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
        found = kind.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{where}: {error.errors()[0]['msg']}, got {value!r}") from error
    least = LEAST.get(where.rpartition(".")[2])
    if least is not None and isinstance(found, int | float) and found < least:
        raise ValueError(f"{where}: must be {'above 0' if 0 < least < 1 else f'at least {least}'}, got {value!r}")
    return found
