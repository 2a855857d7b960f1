"""Progress bars for what does several things in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

Begin = Callable[[str, int], Callable[[str, int, int], None]]
"""Called with what begins and how many steps it has; gives whom to tell of its progress, a `Watch`."""


@contextmanager
def bars() -> Iterator[Begin]:
    """A progress bar for each thing that begins."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")
    with Progress(*columns, TimeRemainingColumn(), console=Console()) as progress:

        def begin(title: str, steps: int) -> Callable[[str, int, int], None]:
            bar = progress.add_task(title, total=steps)

            def watch(agent: str, done: int, tokens: int) -> None:
                progress.update(bar, advance=done, description=escape(f"{title}: {agent}"))

            return watch

        yield begin


def told(begin: Begin | None) -> AbstractContextManager[Begin]:
    """Whoever is to be told; bars, if nobody is."""
    return bars() if begin is None else nullcontext(begin)
