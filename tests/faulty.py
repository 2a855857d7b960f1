"""A proxy that makes a server fail now and then, as networks and services do."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from icrl_test_listening import Handler, Listening

FAULTS = ("429", "500", "drop", "hang", "truncated", "wrong", "slow")


@dataclass
class Faulty(Listening):
    """Passes requests on to `target`; a context manager. Each POST meets at most one fault.

    Args:
        target: The root of a server's URL, without /v1.
        rates: Probability of each fault: one of `FAULTS`.
        hang: Seconds after which an answer that does not come is given up.

    Attributes:
        faults: How many there were of each.
        forwarded: How many requests of any kind the server got.
        dead: Set it, and all connections are closed without an answer.
    """

    target: str
    rates: dict[str, float]
    seed: int = 0
    hang: float = 2.0
    port: int = 0
    faults: Counter[str] = field(default_factory=Counter, init=False)
    forwarded: int = field(default=0, init=False)
    dead: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not set(self.rates) <= set(FAULTS) or sum(self.rates.values()) > 1:
            raise ValueError(f"rates: {self.rates} are no probabilities of {', '.join(FAULTS)} with a sum of at most 1")
        self._luck, self._lock, self._over = random.Random(self.seed), threading.Lock(), threading.Event()

    def start(self) -> None:
        self._over.clear()
        super().start()

    def stop(self) -> None:
        self._over.set()
        super().stop()

    def respond(self, http: Handler) -> None:
        fault, other = self.draw() if http.command == "POST" and not self.dead else ("", False)
        refused = {"429": "Rate limit reached.", "500": "The server had an error."}
        if self.dead or (fault == "drop" and not other):
            http.drop()
        elif fault in refused:
            after = formatdate(time.time(), usegmt=True) if other else "0.05"
            error = {"message": refused[fault], "type": "error", "param": None, "code": int(fault)}
            http.reply(int(fault), {"error": error}, {"Retry-After": after} if fault == "429" else None)
        elif fault == "hang":
            self._over.wait(self.hang)
            http.drop()
        else:
            self.answer(http, fault, other)

    def draw(self) -> tuple[str, bool]:
        """A fault or none, and in which of its two ways it shows."""
        with self._lock:
            u, other = self._luck.random(), self._luck.random() < 0.5
            for fault, rate in self.rates.items():
                if u < rate:
                    self.faults[fault] += 1
                    return fault, other
                u -= rate
        return "", other

    def answer(self, http: Handler, fault: str, other: bool) -> None:
        """Passes a request on, and its answer back unless something happens to it."""
        found = self.forward(http)
        if found is None or fault == "drop" or self.dead:
            return http.drop()
        if fault == "slow":
            self._over.wait(0.2)
        status, kind, content = found
        if fault == "wrong" and status == 200:
            content = misshapen(content, other)
        half = content[: len(content) // 2] if fault == "truncated" else content
        http.reply(status, half, {"Content-Type": kind}, len(content) if other else None)
        if len(half) < len(content) and other:
            http.drop()

    def forward(self, http: Handler) -> tuple[int, str, bytes] | None:
        """Status, type and content of the server's answer; None if it is not there."""
        to = urlsplit(self.target)
        server = HTTPConnection(to.hostname or "", to.port, timeout=60)
        headers = {k: v for k, v in http.headers.items() if k.lower() in ("authorization", "content-type")}
        try:
            server.request(http.command, to.path.rstrip("/") + http.path, http.body or None, headers)
            with self._lock:
                self.forwarded += 1
            answer = server.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read()
        except (OSError, HTTPException):
            return None
        finally:
            server.close()


def misshapen(content: bytes, other: bool) -> bytes:
    """A well-formed answer that lacks what was asked for."""
    try:
        answer: Any = json.loads(content)
        choices = answer["choices"]
    except (ValueError, KeyError):
        return b"{}"
    named = choices[0].get("logprobs")
    if "message" in choices[0]:
        choices[0]["message"]["content"] = "???"
    elif named and other:
        own = named["tokens"][0]
        named["top_logprobs"][0] = {own: named["top_logprobs"][0][own]}
    else:
        choices.pop()
    return json.dumps(answer).encode()
