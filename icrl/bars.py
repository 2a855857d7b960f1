"""Progress bars of a command, and what it says where it is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console

if TYPE_CHECKING:
    from icrl.experiments.progress import Begin


@contextmanager
def bars(stopped: str) -> Iterator[Begin]:
    """A progress bar for each thing that begins; exits with code 130 where it is interrupted.

    Args:
        stopped: What is then said.
    """
    from icrl.experiments.progress import bars as plain

    try:
        with plain() as begin:
            yield begin
    except KeyboardInterrupt:
        Console(stderr=True).print(stopped)
        raise typer.Exit(130) from None
