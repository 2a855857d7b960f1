"""Steering in an experiment file: a vector's file, how strongly it is added, and from which token on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from icrl.agents import Fading, Steering, ToEntropy, Unsure
from icrl.agents.strength import AnyStrength
from icrl.envs.spec import Spec, check_keys, nearest, sentence
from icrl.experiments import players
from icrl.models.steering import MOST, Positions, SteeringVector

Number = Annotated[float, Field(ge=-MOST, le=MOST, allow_inf_nan=False)]
STRENGTHS: dict[str, Any] = {kind.__name__: kind for kind in (Fading, Unsure, ToEntropy)}
"""Strengths that are no number, by the `type` that a file gives them."""


class Steered(Spec):
    """The fields of `icrl.agents.Steering`; the vector's file is read by `build` only.

    So a run's report needs it no more.

    Attributes:
        vector: A file `.safetensors`; a relative path is relative to the working directory.
        strength: A number, or `{type: Fading, first: 8}`, and so `Unsure` and `ToEntropy` (`icrl.agents`).
        positions: See `icrl.agents.Steering`.
    """

    vector: str
    strength: Number | Fading | Unsure | ToEntropy = 1.0
    positions: Positions = "east"

    @field_validator("strength", mode="before")
    @classmethod
    def _strength_is_known(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return _strength(given)
        if isinstance(given, bool) or not isinstance(given, int | float | Fading | Unsure | ToEntropy):
            raise ValueError(f"strength: give a number or a type (type: Fading, first: 8), got {given!r}")
        return given

    def build(self, where: str) -> Steering:
        """Reads the vector.

        Args:
            where: The place in a file at which this stands.

        Raises:
            ValueError: There is no such file, or no vector in it.
        """
        if not Path(self.vector).expanduser().is_file():
            raise ValueError(f"{where}.vector: there is no file {self.vector!r}")
        try:
            return Steering(SteeringVector.load(self.vector), self.strength, self.positions)
        except ValueError as error:
            raise ValueError(f"{where}.vector: {str(error).removeprefix('steering: ')}") from error


def _strength(fields: dict[str, Any]) -> AnyStrength:
    """A strength of its fields.

    Raises:
        ValueError: There is no such type, or one of its fields is not right.
    """
    kind, rest = fields.get("type"), {key: value for key, value in fields.items() if key != "type"}
    if not isinstance(kind, str) or kind not in STRENGTHS:
        known = ", ".join(STRENGTHS)
        raise ValueError(f"strength: unknown type {kind!r}{nearest(str(kind), STRENGTHS)} Known: {known}; or a number")
    check_keys(rest, STRENGTHS[kind].__dataclass_fields__, "strength")
    if "adviser" in rest:
        players.check(rest["adviser"], "strength.adviser")
        rest["adviser"] = players.agent(rest["adviser"], "strength.adviser")
    try:
        found: AnyStrength = STRENGTHS[kind](**rest)
    except ValidationError as error:
        raise ValueError(sentence(error, "strength", rest)) from error
    return found
