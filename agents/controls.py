"""What a steering vector is to be compared with: vectors as long as it that mean nothing, or the contrary.

A refit with permuted entropies is `east(plays.permuted(seed))`; the contrary of a vector is a negative strength.
"""

from __future__ import annotations

import numpy as np

from icrl.models.steering import SteeringVector


def shuffled(vector: SteeringVector, seed: int) -> SteeringVector:
    """Its numbers in any order, within each layer: of the same mean and length (Rahn et al. 2024, figure 9)."""
    rng = np.random.default_rng(seed)
    return vector.with_(rng.permuted(vector.directions, axis=1), f"shuffled {vector.origin.method}")


def random_like(vector: SteeringVector, seed: int) -> SteeringVector:
    """Any direction, of the same length in each layer."""
    drawn = np.random.default_rng(seed).standard_normal(vector.directions.shape)
    lengths = np.linalg.norm(vector.directions, axis=1, keepdims=True) / np.linalg.norm(drawn, axis=1, keepdims=True)
    return vector.with_((drawn * lengths).astype(np.float32), "random direction")


def rescaled(vector: SteeringVector, like: SteeringVector) -> SteeringVector:
    """As long as another vector.

    Raises:
        ValueError: The vector has no length.
    """
    _long(vector)
    return vector.with_(vector.directions * np.float32(like.norm / vector.norm), vector.origin.method)


def without(vector: SteeringVector, other: SteeringVector) -> SteeringVector:
    """What of a vector is orthogonal to another of the same layers, such as the direction of time; as long as it is.

    Raises:
        ValueError: The two have other layers, or the other has no length.
    """
    _long(other)
    if vector.layers != other.layers:
        raise ValueError(f"steering: the vectors are for layers {vector.layers} and {other.layers}")
    unit = other.directions / np.linalg.norm(other.directions, axis=1, keepdims=True)
    rest = vector.directions - (vector.directions * unit).sum(axis=1, keepdims=True) * unit
    return vector.with_(rest, f"{vector.origin.method}, without {other.origin.method}")


def _long(vector: SteeringVector) -> None:
    if not np.linalg.norm(vector.directions, axis=1).all():
        raise ValueError(f"steering: {vector} has a direction of length 0, which points nowhere")


def cosine(a: SteeringVector, b: SteeringVector) -> float:
    """The cosine of the angle between two vectors of one layer each; NaN if one has no length."""
    if not a.norm * b.norm:
        return float("nan")
    return float((a.directions * b.directions).sum() / (a.norm * b.norm))
