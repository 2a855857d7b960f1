"""Long measurements in parts: side by side, kept as they get done, and gone on with by the same command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch

Name = TypeVar("Name")
Part = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function of a module, and what it is called with."""


def begun(path: Path, head: Mapping[str, Any]) -> dict[str, Any]:
    """What an earlier run has measured of the same; `head` says of what."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found if {name: found.get(name) for name in head} == head else dict(head)


def save(path: Path, found: Mapping[str, Any]) -> None:
    """Writes what has been measured so far."""
    path.write_text(json.dumps(found, indent=1) + "\n")


def side_by_side(parts: Mapping[Name, Part]) -> Iterator[tuple[Name, Any]]:
    """Each in a process with one thread, as they get done; if one fails, the others come first."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        jobs = {pool.submit(work, *given): name for name, (work, given) in parts.items()}
        for job in as_completed(jobs):
            if not job.exception():
                yield jobs[job], job.result()
        for job in jobs:
            job.result()
