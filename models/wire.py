"""The wire to model servers: many requests at once, tried again where that can help, and moved to another server.

Requests run in an event loop in a thread of its own, so that callers need not be asynchronous and may themselves stand
in a running loop (notebooks). A conversation sticks to one server, whose cache holds it; while that server fails, its
conversations go to the others.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import Any, TypeVar

import openai
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay

from icrl.models.errors import ServerLost
from icrl.models.requests import AGAIN, NEVER, Malformed, Send, Transient, after, said, wait
from icrl.models.settings import ServerSettings

T = TypeVar("T")
CONNECT = 10.0
"""Seconds after which a server that does not even take a call counts as failing."""
FAILURES, REST = 3, 60.0
"""After so many failures in a row a server is left alone for so many seconds, while there are others."""

_log = logging.getLogger(__name__)


@dataclass
class Traffic:
    """What went over a wire: requests that were answered, tries that failed, and servers that were left for others."""

    requests: int = 0
    retries: int = 0
    moves: int = 0


@dataclass
class Server:
    """One address."""

    url: str
    client: openai.AsyncOpenAI = field(repr=False)
    failures: int = 0
    rests: float = 0.0
    """Until when, by the monotonic clock."""

    def __post_init__(self) -> None:
        weakref.finalize(self, _close, self.client, os.getpid())


@dataclass
class Wire:
    """The servers of one model; each can answer what the others can."""

    servers: list[Server]
    settings: ServerSettings
    traffic: Traffic = field(default_factory=Traffic)
    gate: asyncio.Semaphore = field(init=False, repr=False)
    process: int = field(default_factory=os.getpid, repr=False)

    def __post_init__(self) -> None:
        self.gate = asyncio.Semaphore(self.settings.concurrency * len(self.servers))

    @classmethod
    def to(cls, urls: Sequence[str], settings: ServerSettings) -> Wire:
        """Connects when the first request is sent."""
        key = settings.secret() or "none"  # the client wants one, servers without keys ignore it
        timeout = openai.Timeout(settings.deadline, connect=CONNECT)

        def client(url: str) -> openai.AsyncOpenAI:
            plain = openai.DefaultAsyncHttpxClient(follow_redirects=False)  # a redirected request loses its body
            return openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=timeout, http_client=plain)

        return cls([Server(url, client(url)) for url in urls], settings)

    def home(self, key: object) -> Server:
        """The server to which a conversation sticks: the highest of its hashes with those that are well."""
        now = time.monotonic()
        well = [s for s in self.servers if s.rests <= now] or self.servers
        return max(well, key=lambda server: blake2b(f"{key!r}|{server.url}".encode(), digest_size=8).digest())

    def send(self, jobs: Sequence[tuple[object, Send[T]]]) -> list[T]:
        """Sends requests, each to the home of its key, and waits for all answers.

        Raises:
            ValueError: A server refuses a request, or this process is a fork of the one that connected.
            ServerLost: A request found no answer for as long as the settings have patience.
        """
        if self.process != os.getpid():
            raise ValueError("model: connections do not outlive a fork; load the model in the process that asks it")
        future = asyncio.run_coroutine_threadsafe(self._all(jobs), _loop(self.process))
        try:
            return future.result()
        except BaseException:  # interrupted: what is under way is not waited for
            future.cancel()
            raise

    async def _all(self, jobs: Sequence[tuple[object, Send[T]]]) -> list[T]:
        tasks = [asyncio.ensure_future(self._one(key, job)) for key, job in jobs]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _one(self, key: object, job: Send[T]) -> T:
        """All tries of a request; its time begins when it is its turn."""
        tries = AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            stop=stop_before_delay(self.settings.patience),
            wait=wait,
            before_sleep=self._note,
            retry_error_callback=self._lost,
        )
        async with self.gate:
            found: T = await tries(self._try, key, job)
        return found

    async def _try(self, key: object, job: Send[T]) -> T:
        """One try, at the server that is the key's home now."""
        server = self.home(key)
        try:
            async with asyncio.timeout(self.settings.deadline):
                found = await job(server.client)
        except (openai.APITimeoutError, TimeoutError) as error:
            self._failed(server, FAILURES)  # there is no time to see that twice
            raise Transient(f"{server.url}: no answer within {self.settings.deadline:g} s") from error
        except openai.APIConnectionError as error:
            self._failed(server)
            raise Transient(f"{server.url}: {self._shown(error.__cause__ or error)}") from error
        except openai.APIStatusError as error:
            final = error.status_code not in AGAIN and (error.status_code < 500 or error.status_code == NEVER)
            if final or error.code == "insufficient_quota":
                hint = f"; the key is read from {self.settings.key_variable}" * (error.status_code in (401, 403))
                raise ValueError(f"server: {server.url} refuses: {self._shown(said(error))}{hint}") from None
            pause = after(error)
            if error.status_code >= 500:
                self._failed(server)
            elif pause > 1 and len(self.servers) > 1:  # the others have time
                self._rest(server, pause)
                pause = 0.0
            raise Transient(f"{server.url}: {self._shown(said(error))}", pause) from error
        except (Malformed, openai.APIResponseValidationError) as error:
            self._failed(server)
            raise Transient(f"{server.url}: its answer is not what was asked for: {self._shown(error)}") from error
        server.failures = 0
        self.traffic.requests += 1
        return found

    def _shown(self, said: object) -> str:
        """What a server or a library says, without the key, whoever repeats it."""
        secret = self.settings.secret()
        return str(said).replace(secret, "***") if secret else str(said)

    def _failed(self, server: Server, times: int = 1) -> None:
        """Leaves a server alone that fails again and again, if there are others."""
        server.failures += times
        if server.failures >= FAILURES and len(self.servers) > 1:
            self._rest(server, REST)

    def _rest(self, server: Server, seconds: float) -> None:
        """Leaves a server alone for some time, if it is not left alone already."""
        if server.rests <= time.monotonic():
            server.rests, server.failures = time.monotonic() + seconds, 0
            self.traffic.moves += 1
            _log.warning("%s does not answer; its episodes move to other servers for %g s", server.url, seconds)

    def _lost(self, state: RetryCallState) -> Any:
        assert state.outcome is not None
        raise ServerLost(
            f"server: no answer in {state.attempt_number} tries within {self.settings.patience:g} s; the last: "
            f"{state.outcome.exception()}"
        )

    def _note(self, state: RetryCallState) -> None:
        self.traffic.retries += 1
        assert state.outcome is not None and state.next_action is not None
        _log.info("%s; again in %.1f s", state.outcome.exception(), state.next_action.sleep)


def _close(client: openai.AsyncOpenAI, process: int) -> None:
    """Closes connections where they were opened; nobody waits for it."""
    if process == os.getpid():
        asyncio.run_coroutine_threadsafe(client.close(), _loop(process))


@cache
def _loop(process: int) -> asyncio.AbstractEventLoop:
    """The event loop of all wires of a process, in a thread that ends with it."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="icrl-wire", daemon=True).start()
    return loop
