"""A model server as a child of this process: its start, its end, and what it said last."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

GRACE, SWEEP, LINES = 30.0, 5.0, 15
"""Seconds in which a server may end, and its orphans after it; lines of its output that are shown."""
ERROR = re.compile(r"\b[A-Za-z]*(?:Error|Exception): \S.*")


@contextmanager
def serving(
    words: Sequence[str],
    url: str,
    log: Path,
    environment: Mapping[str, str],
    tell: Callable[[float], None] = lambda seconds: None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a server, waits until it is healthy, and stops it with all its processes in the end.

    Args:
        words: Its command.
        url: Its address; `url/health` is asked.
        log: A file that gets what it prints.
        environment: Its environment variables.
        tell: Called every half second with the seconds that the start has taken.

    Raises:
        ValueError: It ended before it was healthy; the message has the end of what it printed.
    """
    with log.open("wb") as out:  # a session of its own: an interruption from the keyboard reaches this process only
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
    try:
        begun = time.monotonic()
        while not _healthy(url):
            if process.poll() is not None:
                raise ValueError(f"serve: the server ended before it was ready, {last_words(process, log)}")
            tell(time.monotonic() - begun)
            time.sleep(0.5)
        yield process
    finally:
        stop(process)


def last_words(process: subprocess.Popen[bytes], log: Path) -> str:
    """How a server ended: exit code, the error of its first traceback (later ones follow from it), the last lines."""
    text = log.read_text(encoding="utf-8", errors="replace")
    error = ERROR.search(text.partition("Traceback (most recent call last)")[2])
    lines = "\n".join(text.splitlines()[-LINES:])
    first = f": {error.group()}" if error else ""
    return f"with exit code {process.returncode}{first}\nThe last lines of {log}:\n{lines}"


def _healthy(url: str) -> bool:
    """Whether a server answers, asked past any proxy."""
    with suppress(OSError), build_opener(ProxyHandler({})).open(f"{url}/health", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a server: asks it, then what is left of its processes, then kills; a second interruption waits no more."""
    with suppress(KeyboardInterrupt):
        if process.poll() is None:
            process.terminate()
            _gone(lambda: process.poll() is not None, GRACE)
        if _signal(process.pid, signal.SIGTERM):
            _gone(lambda: not _signal(process.pid, 0), SWEEP)
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _gone(over: Callable[[], bool], most: float) -> None:
    """Waits until something is over, at most so many seconds."""
    end = time.monotonic() + most
    while not over() and time.monotonic() < end:
        time.sleep(0.05)


def _signal(group: int, number: int) -> bool:
    """Signals a group of processes; whether there is any (0 only looks)."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)
        return True
    return False
