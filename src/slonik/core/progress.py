"""Progress bars on standard error: shown on a terminal, silent elsewhere, never in the way of output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Bar:
    """A running bar; `advance` moves it and shows named figures beside it."""

    def __init__(self, progress: Any, task: Any) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: float = 1, **fields: object) -> None:
        """Move by `steps`; `fields` (loss=0.12, speed="410 texts/s") replace what is shown."""
        if self._progress is None:
            return
        figures = "  ".join(f"{name} {value}" for name, value in fields.items())
        updates: dict[str, Any] = {"figures": figures} if figures else {}
        self._progress.update(self._task, advance=steps, **updates)


@contextmanager
def progress_bar(description: str, total: float | None = None, *, completed: float = 0) -> Iterator[Bar]:
    """A bar with description, share done, figures, time spent and time left.

    Args:
        total: steps in all; None shows a pulse.
        completed: steps done before (a resumed run).
    """
    if not sys.stderr.isatty():
        yield Bar(None, None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total, completed=int(completed), figures="")
        yield Bar(progress, task)


def track(items: Iterable[T], description: str, total: float | None = None) -> Iterator[T]:
    """Iterate over `items` with a bar."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(description, total) as bar:
        for item in items:
            yield item
            bar.advance()
