"""One request to a model server: how its answer is read, which failures may pass, and how long to wait then."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import openai
from tenacity import RetryCallState, wait_random_exponential

T = TypeVar("T")
Send = Callable[[openai.AsyncOpenAI], Awaitable[T]]
"""One request by a client; raises `Malformed` for an answer that is not what was asked for."""

AGAIN, NEVER = (408, 409, 425, 429), 501
"""Answers below 500 after which it helps to wait, and the one above after which it does not."""
_backoff = wait_random_exponential(multiplier=0.25, max=20)


class Malformed(Exception):
    """An answer that breaks off, or is not what was asked for."""


class Transient(Exception):
    """A failure after which the same request may succeed, `after` seconds later at the earliest."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        """`why` ends a sentence."""
        super().__init__(why)
        self.after = after


def request(path: str, body: Any, read: Callable[[Any], T]) -> Send[T]:
    """A request, and how the JSON of its answer is read: `read` raises Malformed for what was not asked for.

    Without a body something is looked up only.
    """

    async def send(client: openai.AsyncOpenAI) -> T:
        text = await (client.get(path, cast_to=str) if body is None else client.post(path, cast_to=str, body=body))
        try:
            told = json.loads(text)
        except ValueError as error:
            raise Malformed("no JSON") from error
        return read(told)

    return send


def wait(state: RetryCallState) -> float:
    """Seconds before the next try: a random time that grows, after what the server asked for."""
    assert state.outcome is not None
    error = state.outcome.exception()
    return _backoff(state) + (error.after if isinstance(error, Transient) else 0.0)


def after(error: openai.APIStatusError) -> float:
    """Seconds that a server asks to wait, as a number or as a date; 0 if it does not say."""
    told = error.response.headers.get("retry-after", "")
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def said(error: openai.APIStatusError) -> str:
    """A server's reason, in a line."""
    body: Any = error.body
    inner = body.get("error", body) if isinstance(body, dict) else body
    text = inner.get("message", inner) if isinstance(inner, dict) else inner
    if moved := error.response.headers.get("location"):
        text = f"it has moved to {moved}"
    return f"{error.status_code}, {' '.join(str(text or error.response.reason_phrase).split())[:300]}"
