"""What icrl puts before a vLLM server that steers: it loads the vectors, tells which there are, and refuses typos.

vLLM passes on any keys in `vllm_xargs`, and minds none of ours; a request that names no vector of this server would be
answered, as if it were not to be steered. Below `/v1/steered/` are vLLM's own addresses for requests that must be: a
server without this middleware has no such addresses, so they cannot be answered there by mistake.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from icrl.models.steering import MOST, SteeringVector
from icrl.models.vllm_keys import ALL, BACK, NAME, PREFIX, STRENGTH, VARIABLE

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
LISTED, STEERED, XARGS = "/steering", "/steered/", "vllm_xargs"


def files(place: Path) -> dict[str, Path]:
    """The vectors of a folder, or of one file, by their names without the ending.

    Raises:
        ValueError: There are none.
    """
    found = sorted(place.glob("*.safetensors")) if place.is_dir() else [place] * place.is_file()
    if not found:
        raise ValueError(f"steering: {str(place)!r} is no .safetensors file, and no folder that has any")
    return {path.stem: path for path in found}


class SteeringMiddleware:
    """An ASGI middleware.

    Attributes:
        app: What it stands before.
        vectors: By the names of their files.
    """

    def __init__(self, app: App) -> None:
        """Nothing is loaded before the server starts."""
        self.app = app
        self.vectors: dict[str, SteeringVector] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's start and end."""
        kind, path = scope["type"], scope.get("path", "")
        if kind == "lifespan":
            await self._live(scope, receive, send)
        elif kind == "http" and scope["method"] == "GET" and path in (LISTED, f"/v1{LISTED}"):
            await _reply(send, 200, self.told())
        elif kind == "http" and scope["method"] == "POST":
            await self._heard(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.load(scope["app"].state.engine_client, files(Path(os.environ.get(VARIABLE, ""))))
        except ValueError as error:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
        else:
            await self.app(scope, receive, send)

    async def load(self, engine: Any, paths: Mapping[str, Path]) -> None:
        """Has vLLM's workers load vectors.

        Raises:
            ValueError: One is none, or does not fit, or there can be no steering.
        """
        self.vectors = {name: SteeringVector.load(path) for name, path in paths.items()}
        told = await engine.collective_rpc("icrl_add_vectors", args=([str(path.resolve()) for path in paths.values()],))
        if faults := [why for _, why in told if why]:
            raise ValueError(faults[0])

    def told(self) -> dict[str, Any]:
        """What is known of each vector."""
        return {
            name: {"digest": vector.digest, "layers": list(vector.layers), "width": vector.width}
            for name, vector in self.vectors.items()
        }

    async def _heard(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request with a body; what names no vector of ours goes no further."""
        body, more = b"", True
        while more:
            part = await receive()
            if part["type"] == "http.disconnect":
                return
            body, more = body + part.get("body", b""), part.get("more_body", False)
        must, path = STEERED in scope["path"], scope["path"].replace(STEERED, "/", 1)
        try:
            body = self.resolved(body, must)
        except ValueError as error:
            told = {"message": str(error), "type": "BadRequestError", "param": XARGS, "code": 400}
            await _reply(send, 400, {"error": told})
            return
        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> dict[str, Any]:
            return given.pop() if given else await receive()

        scope = {**scope, "path": path, "raw_path": path.encode()} if must else scope
        await self.app(scope, again, send)

    def resolved(self, body: bytes, must: bool) -> bytes:
        """A request that names its vector by the digest.

        Args:
            body: As it came.
            must: Whether it has to be steered.

        Raises:
            ValueError: A key is not known, or has no value that could be meant.
        """
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):  # a form, or what vLLM refuses itself
            asked = None
        asked = asked if isinstance(asked, dict) else {}
        extra: Any = asked.get(XARGS)
        extra = extra if isinstance(extra, dict) else {}
        if misplaced := [key for key in asked if key.startswith(PREFIX)]:
            raise ValueError(f"{misplaced[0]}: it belongs into {XARGS}")
        own = {key: value for key, value in extra.items() if key.startswith(PREFIX)}
        if not own and not must:
            return body
        return json.dumps(asked | {XARGS: extra | {NAME: self._digest(own)}}).encode()

    def _digest(self, own: Mapping[str, Any]) -> str:
        """The vector that the keys of a request name, all of which are checked."""
        if odd := sorted(set(own) - {NAME, STRENGTH, BACK}):
            raise ValueError(f"{XARGS}.{odd[0]}: there is {NAME}, {STRENGTH} and {BACK} only")
        known = {key: v.digest for name, v in self.vectors.items() for key in (v.digest, name)}
        name, strength, back = own.get(NAME), own.get(STRENGTH), own.get(BACK, 1)
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"{XARGS}.{NAME}: must be one of {', '.join(self.vectors)}, or a digest, got {name!r}")
        if not isinstance(strength, int | float) or isinstance(strength, bool) or not abs(strength) <= MOST:
            raise ValueError(f"{XARGS}.{STRENGTH}: must be a finite number, got {strength!r:.40}")
        if not isinstance(back, int) or isinstance(back, bool) or not 0 <= back <= ALL:
            raise ValueError(f"{XARGS}.{BACK}: must be a whole number, got {back!r:.40}")
        return known[name]


async def _reply(send: Send, status: int, told: Any) -> None:
    """Answers with JSON."""
    kind = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": kind})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})
