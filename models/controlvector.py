"""Steering vectors in the gguf format `controlvector`, which repeng, llama.cpp and EasySteer read and write.

A tensor `direction.i` is added to the residual stream behind decoder block i, counted from 0, which is our layer i:
repeng adds it to the output of `model.layers[i]` (control.py) and fits it there, on `hidden_states[i + 1]`
(extract.py); llama.cpp adds it to `l_out` of graph layer i (`llama_adapter_cvec`, `build_cvec`), though its loader
keeps it at offset i - 1, as it refuses any file with a `direction.0` (`common_control_vector_load_one`).

These tools add it at every position, the whole prompt included, and keep what was computed so for later turns: that is
our positions `all`, another intervention than EAST, which steers a prompt's last token and what is generated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icrl.models.steering import Origin, SteeringVector

KIND, HINT, COUNT = "general.architecture", "controlvector.model_hint", "controlvector.layer_count"
ORIGIN = "icrl.origin"
"""A key of our own, which other tools pass over."""


def to_gguf(vector: SteeringVector, path: str | Path, depth: int) -> Path:
    """Writes a vector for other tools; they multiply it by a strength of theirs.

    Args:
        vector: What to write.
        path: A file `.gguf`.
        depth: How many decoder blocks the model has. All but the first get a direction, zeros where the vector has
            none: repeng asks for that of each block that it wraps.

    Raises:
        ValueError: The format cannot tell it, or the gguf package is missing.
    """
    if vector.keeps_norm:
        raise ValueError("keeps_norm: a gguf control vector is only added, but this vector keeps a state's length")
    if min(vector.layers) < 1 or max(vector.layers) >= depth:
        raise ValueError(f"layers: gguf has those from 1 to {depth - 1} of {depth} blocks, got {list(vector.layers)}")
    path, gguf = _suffixed(path), _package()
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "controlvector")
    writer.add_string(HINT, vector.origin.model)
    writer.add_uint32(COUNT, depth - 1)
    writer.add_string(ORIGIN, vector.origin.model_dump_json())
    own = dict(zip(vector.layers, vector.directions, strict=True))
    for layer in range(1, depth):
        writer.add_tensor(f"direction.{layer}", own.get(layer, np.zeros(vector.width, np.float32)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def from_gguf(path: str | Path) -> SteeringVector:
    """Reads what `to_gguf`, repeng or llama.cpp wrote; directions that are zero are left out.

    Of another tool's vector little more than the model's name is known, so any model of its width may be steered by it.

    Raises:
        ValueError: It is no such file, or the gguf package is missing.
    """
    path, _ = _suffixed(path), _package()
    try:
        return _vector(*_read(path))
    except Exception as error:  # gguf, and numpy below it, raise what they like
        raise ValueError(f"steering: {path} holds no control vector: {error}") from error


def _read(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """The texts of a file's header that concern us, and its tensors."""
    from gguf import GGUFReader

    class Bounded(GGUFReader):
        """The original reads on behind the end of a broken file, for as many numbers as a list is said to have."""

        def _get(self, offset: int, dtype: Any, count: int = 1, *rest: Any, **named: Any) -> NDArray[Any]:
            if offset + int(count) * np.dtype(dtype).itemsize > len(self.data):
                raise ValueError("the file ends too early")
            return super()._get(offset, dtype, count, *rest, **named)

    reader = Bounded(path)
    known = {key: reader.get_field(key) for key in (KIND, HINT, ORIGIN)}
    texts = {key: bytes(field.parts[-1]).decode() for key, field in known.items() if field is not None}
    return texts, {tensor.name: np.array(tensor.data) for tensor in reader.tensors}


def _vector(texts: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> SteeringVector:
    """Raises ValueError unless they make one."""
    if texts.get(KIND) != "controlvector":
        raise ValueError(f"{KIND} must be 'controlvector', got {texts.get(KIND)!r}")
    for name, x in tensors.items():
        if not re.fullmatch(r"direction\.\d+", name) or x.dtype != np.float32 or x.ndim != 1:
            raise ValueError(f"tensors must be float32[d] direction.LAYER, got {x.dtype}{list(x.shape)} {name!r}")
    if len(widths := {len(x) for x in tensors.values()}) > 1:
        raise ValueError(f"tensors must have one width, got {sorted(widths)}")
    found = sorted(((int(name.split(".")[1]), x) for name, x in tensors.items() if x.any()), key=lambda own: own[0])
    if not found:
        raise ValueError("tensors must have a direction that is not zero, got none")
    vector = SteeringVector(np.stack([x for _, x in found]), tuple(layer for layer, _ in found))
    own = texts.get(ORIGIN)
    other = Origin(method="controlvector", model=texts.get(HINT, ""), norm=vector.norm)
    return replace(vector, origin=Origin.model_validate_json(own) if own else other)


def _suffixed(path: str | Path) -> Path:
    found = Path(path).expanduser()
    if found.suffix != ".gguf":
        raise ValueError(f"steering: a control vector's file ends in .gguf, got {str(path)!r}")
    return found


def _package() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ValueError("steering: gguf files need a package; `pip install 'icrl[steer]'` brings it") from error
    return gguf
