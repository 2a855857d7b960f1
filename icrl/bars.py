"""Progress bars of the commands that do several things in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from icrl.experiments.vectors import Begin


@contextmanager
def bars(stopped: str) -> Iterator[Begin]:
    """A progress bar for each thing that begins; exits with code 130 where it is interrupted.

    Args:
        stopped: What is then said.
    """
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")
    try:
        with Progress(*columns, TimeRemainingColumn(), console=Console()) as progress:

            def begin(title: str, steps: int) -> Callable[[str, int, int], None]:
                bar = progress.add_task(title, total=steps)

                def watch(agent: str, done: int, tokens: int) -> None:
                    progress.update(bar, advance=done, description=escape(f"{title}: {agent}"))

                return watch

            yield begin
    except KeyboardInterrupt:
        Console(stderr=True).print(stopped)
        raise typer.Exit(130) from None
