"""The vectors of a server that steers: what is looked at before it starts, and tried when it is there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from icrl.models import vllm_http, vllm_options, vllm_probe
from icrl.models.requests import request
from icrl.models.settings import ServerSettings
from icrl.models.steering import SteeringVector
from icrl.models.vllm_middleware import files
from icrl.models.wire import Wire


def vectors(place: Path, model: str) -> dict[str, SteeringVector]:
    """Those of a folder or a file, by name.

    Raises:
        ValueError: There are none, or one does not fit the model.
    """
    found = {name: SteeringVector.load(path) for name, path in files(place).items()}
    identity = vllm_options.identity(model, None)
    for name, vector in found.items():
        try:
            vllm_options.check_vector(vector, model, None, identity)
        except ValueError as error:
            raise ValueError(f"steering.{name}: {str(error).removeprefix('steering: ')}") from error
    return found


def probe(url: str, model: str, vector: SteeringVector) -> None:
    """Raises ValueError unless a server that has just started steers by a vector."""
    wire = Wire.to([url], ServerSettings())
    vllm_probe.check(partial(_scored, wire, model), vector, url)


def _scored(wire: Wire, model: str, keys: Mapping[str, Any]) -> tuple[list[float], int]:
    body = vllm_http.naming(model, [vllm_probe.PROMPT], vllm_probe.TOKENS) | vllm_http.steering(keys)

    def read(told: Any) -> tuple[list[float], int]:
        (found,) = vllm_http.told(told, [vllm_probe.TOKENS])
        return [found[token] for token in vllm_probe.TOKENS], vllm_http.cached(told)

    return wire.send([(0, request(vllm_http.path(keys), body, read))])[0]
