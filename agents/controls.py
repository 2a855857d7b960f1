"""What a steering vector is to be compared with: vectors as long as it that mean nothing, or the contrary.

A refit with permuted entropies is `east(plays.permuted(seed))`; the contrary of a vector is a negative strength.
"""

from __future__ import annotations

import numpy as np

from icrl.envs.types import Floats
from icrl.models.steering import SteeringVector

ROUNDING = 1e-5


def shuffled(vector: SteeringVector, seed: int) -> SteeringVector:
    """Its numbers in any order, within each layer: of the same mean and length (Rahn et al. 2024, figure 9)."""
    rng = np.random.default_rng(seed)
    return vector.with_(rng.permuted(vector.directions, axis=1), f"shuffled {vector.origin.method}")


def random_like(vector: SteeringVector, seed: int) -> SteeringVector:
    """Any direction, of the same length in each layer."""
    drawn = np.random.default_rng(seed).standard_normal(vector.directions.shape)
    lengths = _lengths(vector) / np.linalg.norm(drawn, axis=1, keepdims=True)
    return vector.with_((drawn * lengths).astype(np.float32), "random direction")


def rescaled(vector: SteeringVector, like: SteeringVector) -> SteeringVector:
    """As long as another vector.

    Raises:
        ValueError: The vector has no length.
    """
    _long(vector)
    return vector.with_(
        (vector.directions.astype(np.float64) * (like.norm / vector.norm)).astype(np.float32), vector.origin.method
    )


def without(vector: SteeringVector, other: SteeringVector) -> SteeringVector:
    """What of a vector is orthogonal to another of the same layers, such as that of time; it is not lengthened.

    Raises:
        ValueError: The two have other layers, or the other has no length, or nothing is left.
    """
    _long(other)
    if vector.layers != other.layers:
        raise ValueError(f"steering: the vectors are for layers {vector.layers} and {other.layers}")
    own, unit = vector.directions.astype(np.float64), other.directions / _lengths(other)
    rest = own - (own * unit).sum(axis=1, keepdims=True) * unit
    if np.linalg.norm(rest) < ROUNDING * vector.norm:
        raise ValueError(f"steering: nothing but rounding is left of {vector} without {other}")
    return vector.with_(rest.astype(np.float32), f"{vector.origin.method}, without {other.origin.method}")


def _lengths(vector: SteeringVector) -> Floats:
    """[n, 1]"""
    found: Floats = np.linalg.norm(vector.directions.astype(np.float64), axis=1, keepdims=True)
    return found


def _long(vector: SteeringVector) -> None:
    if not _lengths(vector).all():
        raise ValueError(f"steering: {vector} has a direction of length 0, which points nowhere")


def cosine(a: SteeringVector, b: SteeringVector) -> float:
    """The cosine of the angle between two vectors of one and the same layer; NaN if one has no length.

    Raises:
        ValueError: They are for other layers.
    """
    if a.layer != b.layer:
        raise ValueError(f"steering: the vectors are for layers {a.layer} and {b.layer}")
    lengths = a.norm * b.norm
    return float((a.directions.astype(np.float64) * b.directions).sum() / lengths) if lengths else float("nan")
