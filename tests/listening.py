"""HTTP servers of tests: threads, connections that are kept, and a stop that is like being killed."""

from __future__ import annotations

import json
import socket
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """One connection: reads whole requests and gives each to the owner of the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    body = b""

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.owner.respond(self)  # type: ignore[attr-defined]

    do_POST = do_GET

    def reply(
        self, status: int, content: Any, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        """Text, bytes, or anything else as JSON; `length` is that which is claimed."""
        plain = isinstance(content, (str, bytes))
        payload = content if isinstance(content, bytes) else (content if plain else json.dumps(content)).encode()
        own = {"Content-Type": "text/plain" if plain else "application/json"} | (headers or {})
        self.send_response(status)
        for name, value in (own | {"Content-Length": str(len(payload) if length is None else length)}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def drop(self) -> None:
        """Closes the connection; what was written before arrives."""
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None: ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: Listening) -> None:
        self.owner, self.connections = owner, set[Any]()
        super().__init__(("127.0.0.1", owner.port), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error; anything else is told."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Listening:
    """A server on a port that it keeps: it may be stopped, as if killed, and started again."""

    port: int
    _http: _Server | None = None

    def respond(self, http: Handler) -> None:
        raise NotImplementedError

    @property
    def url_root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return self.url_root + "/v1"

    def start(self) -> None:
        self._http = _Server(self)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Closes the port and all connections; what was being answered is lost."""
        if self._http is None:
            return
        http, self._http = self._http, None
        http.shutdown()
        http.server_close()
        for connection in list(http.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
