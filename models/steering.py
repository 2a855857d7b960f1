"""A direction in a model's residual stream, and how much of it is added while one answer is written.

An answer is a function of the prompt's tokens and of the `Steer`; which vector, how strong, and from which token on.
So caches hold what was computed under a `Steer` for that one only, and the tokens before it are clean for all.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

Directions = NDArray[np.float32]
Positions = Literal["east", "generated", "all"]
METADATA = "icrl"
MOST = 1e30
"""The highest strength: numbers that float32 still holds when they are multiplied."""
Text = Annotated[str, AfterValidator(lambda text: "".join(c if c.isprintable() else "?" for c in text))]
"""Files are anyone's: what would steer a terminal is not shown."""
Count = Annotated[int, Field(ge=0, strict=True)]
Length = Annotated[float, Field(ge=0)]


class Origin(BaseModel):
    """Where a vector comes from.

    Attributes:
        method: How it was fitted.
        model: The model's name.
        revision: Of its weights; empty: unknown, any model of this width may be steered.
        dtype: What it was computed in.
        task: What was played.
        agent: A hash of the agent that played: its prompt and temperature.
        seed: Of the play.
        runs: Episodes.
        prompts: Prompts whose activations were taken.
        dropped: Prompts left out, as too few of their answers could be read.
        entropy: Mean entropy of the actions, in nats.
        estimator: How that was found.
        norm: Length of the vector.
        residual: Mean length of the residual stream at that layer; 0: unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Text = "unknown"
    model: Text = ""
    revision: Text = ""
    dtype: Text = ""
    task: Text = ""
    agent: Text = ""
    seed: Count = 0
    runs: Count = 0
    prompts: Count = 0
    dropped: Count = 0
    entropy: Length = 0.0
    estimator: Text = ""
    norm: Length = 0.0
    residual: Length = 0.0


@dataclass(frozen=True, eq=False)
class SteeringVector:
    """One direction for each of some layers; most methods have one layer.

    Args:
        directions: [n, d] what is added to the residual stream, at strength 1.
        layers: [n] behind which decoder blocks, counted from 0.
        keeps_norm: Whether a steered state keeps its length, as in-context vectors do.
        origin: Where it comes from.

    Raises:
        ValueError: Shapes do not agree, or something is not a number.
    """

    directions: Directions = field(repr=False)
    layers: tuple[int, ...]
    keeps_norm: bool = False
    origin: Origin = field(default_factory=Origin)

    def __post_init__(self) -> None:
        shape = np.shape(self.directions)
        if len(shape) != 2 or shape[0] != len(self.layers) or 0 in shape:
            raise ValueError(f"directions: must be [n, d] for n = {len(self.layers)} layers, got {list(shape)}")
        if len(set(self.layers)) < len(self.layers) or min(self.layers) < 0:
            raise ValueError(f"layers: must be distinct numbers from 0, got {self.layers}")
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
            own = np.array(self.directions, np.float32, order="C")
        if not np.isfinite(own).all():
            raise ValueError("directions: some numbers are not finite in float32")
        own.setflags(write=False)  # the digest is told once
        object.__setattr__(self, "directions", own)

    def __repr__(self) -> str:
        return f"SteeringVector({self.origin.method!r}, layers={self.layers}, digest={self.digest!r})"

    @property
    def width(self) -> int:
        """Numbers of a direction, d."""
        return int(self.directions.shape[1])

    @property
    def layer(self) -> int:
        """Its layer, if it has one only."""
        (only,) = self.layers
        return only

    @property
    def norm(self) -> float:
        """The length of all directions together."""
        return float(np.linalg.norm(self.directions.astype(np.float64)))  # squares overflow in float32

    @cached_property
    def digest(self) -> str:
        """A hash of what it does; what it is called and where it is from are no part of it."""
        told = f"{self.layers}{self.keeps_norm}{self.directions.shape}".encode()
        return hashlib.sha256(told + self.directions.tobytes()).hexdigest()[:16]

    def relative(self, strength: float) -> float:
        """A strength in units of the residual stream: strength times the vector's length, by the stream's mean length.

        NaN where that is unknown. Strengths as such cannot be compared between models, layers or data sets, since an
        EAST vector's length goes with 1 / mean entropy. That of a vector that keeps lengths is relative as it is.
        """
        if self.keeps_norm:
            return strength
        return strength * self.norm / self.origin.residual if self.origin.residual else math.nan

    def strength(self, relative: float) -> float:
        """The strength that is so much of the residual stream; see `relative`.

        Raises:
            ValueError: The stream's length is not known of this vector, or the vector has none.
        """
        unit = self.relative(1.0)
        if not unit > 0:
            raise ValueError(f"steering: of {self} the length beside the residual stream is {unit}; give a strength")
        return relative / unit

    def with_(self, directions: Directions, method: str) -> Self:
        """Other directions for the same layers."""
        made = replace(self, directions=directions)
        return replace(made, origin=self.origin.model_copy(update={"method": method, "norm": made.norm}))

    def fits(self, *, width: int, depth: int, revision: str, name: str) -> None:
        """Raises ValueError unless a model can be steered by it.

        Args:
            width: Of the model's residual stream.
            depth: How many decoder blocks it has.
            revision: Of its weights; an adapter's name follows a `+`.
            name: The model's.
        """
        if self.width != width:
            raise ValueError(f"steering: the vector has {self.width} numbers, but {name} has a width of {width}")
        if max(self.layers) >= depth:
            raise ValueError(f"steering: {name} has layers 0 to {depth - 1}, but the vector is for {max(self.layers)}")
        if self.origin.revision and self.origin.revision.split("+")[0] != revision.split("+")[0]:
            raise ValueError(
                f"steering: the vector was fitted on {self.origin.model} ({self.origin.revision}), not on {name} "
                f"({revision}); its `unbound()` may be tried on any model of its width"
            )

    def unbound(self) -> Self:
        """The same for any model of its width."""
        return replace(self, origin=self.origin.model_copy(update={"revision": ""}))

    def save(self, path: str | Path) -> Path:
        """Writes a safetensors file; the origin is in its metadata.

        Raises:
            ValueError: It cannot be written.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        told = {"layers": list(self.layers), "keeps_norm": self.keeps_norm, "origin": self.origin.model_dump()}
        path = _safe(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({"directions": self.directions}, path, {METADATA: _File(**told).model_dump_json()})
        except (OSError, SafetensorError) as error:
            raise ValueError(f"steering: {path} cannot be written: {error}") from error
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ValueError: It is no such file.
        """
        from safetensors import SafetensorError, safe_open

        path = _safe(path)
        try:
            with safe_open(path, "numpy") as file:
                told = _File.model_validate_json((file.metadata() or {}).get(METADATA, ""))
                if (kind := file.get_slice("directions").get_dtype()) not in ("F32", "F64", "F16"):
                    raise ValueError(f"directions: must be F32, got {kind}")
                return cls(file.get_tensor("directions"), told.layers, told.keeps_norm, told.origin)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "its metadata"
            raise ValueError(f"steering: {path} holds no steering vector: {where}: {first['msg']}") from error
        except (OSError, TypeError, ValueError, SafetensorError) as error:
            raise ValueError(f"steering: {path} holds no steering vector: {error}") from error


class _File(BaseModel):
    """What stands in a file beside the directions."""

    model_config = ConfigDict(extra="forbid")

    layers: Annotated[tuple[Annotated[int, Field(ge=0, lt=1 << 20, strict=True)], ...], Field(min_length=1)]
    keeps_norm: Annotated[bool, Field(strict=True)]
    origin: Origin


def _safe(path: str | Path) -> Path:
    """Raises ValueError for a file type that could run code, or that is not ours."""
    found = Path(path).expanduser()
    if found.suffix == ".gguf":
        raise ValueError(f"steering: for {str(path)!r} there are from_gguf and to_gguf of icrl.models.controlvector")
    if found.suffix != ".safetensors":
        raise ValueError(f"steering: a vector's file ends in .safetensors, got {str(path)!r}")
    return found


@dataclass(frozen=True)
class Steer:
    """How one answer is steered.

    Args:
        vector: What is added.
        strength: How much of it; 0 is no steering, and exactly so.
        start: The first steered token of the prompt, counted from 0; all that follow it are steered, too.
    """

    vector: SteeringVector
    strength: float
    start: int

    @property
    def key(self) -> tuple[str, float, int] | None:
        """What the states from `start` on depend on, beside tokens; None if there is no steering."""
        return (self.vector.digest, self.strength, self.start) if self.strength else None


def alike(one: Steer | None, other: Steer | None) -> float:
    """How many first tokens two ways of steering treat alike; infinitely many if they are the same."""
    keys = [None if steer is None else steer.key for steer in (one, other)]
    return math.inf if keys[0] == keys[1] else min(key[2] for key in keys if key)


def start_of(positions: Positions, prompt: int) -> int:
    """The first steered token for a prompt of so many tokens.

    `east`: the prompt's last token and all generated ones (Rahn et al. 2024, section 5); `generated`: those only;
    `all`: the whole prompt, too.
    """
    return {"east": prompt - 1, "generated": prompt, "all": 0}[positions]
