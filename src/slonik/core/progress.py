"""Progress of long work on standard error, where somebody asked to see it; never in the way of output.

The library is silent until progress is `shown`: then a bar on a terminal, and elsewhere (a scheduler's log, nohup) a
plain line now and then, every 30 seconds or `$SLONIK_PROGRESS_SECONDS`. Of several processes only the first shows any.
What a user must know though nobody asked (`warn_once`) is said in any case.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypeVar

from slonik.core.errors import SlonikError

T = TypeVar("T")
Mode = Literal["auto", "off"]

SECONDS = 30.0
_seconds: ContextVar[float | None] = ContextVar("seconds between lines; None shows nothing", default=None)


@contextmanager
def shown(mode: Mode | bool = "auto", *, seconds: float | None = None) -> Iterator[None]:
    """Show the progress of what runs in the block (in this thread).

    Args:
        mode: "auto" or True: a bar on a terminal, lines elsewhere; "off": nothing; False: as it is outside.
        seconds: between lines; default `$SLONIK_PROGRESS_SECONDS`, else 30.

    Raises:
        SlonikError: the variable is no number of seconds.
    """
    if mode is False:
        yield
        return
    token = _seconds.set(None if mode == "off" else _interval() if seconds is None else seconds)
    try:
        yield
    finally:
        _seconds.reset(token)


def _interval() -> float:
    named = os.environ.get("SLONIK_PROGRESS_SECONDS") or str(SECONDS)
    try:
        seconds = float(named)
    except ValueError:
        seconds = -1.0
    if not seconds > 0:
        raise SlonikError(f"SLONIK_PROGRESS_SECONDS is {named!r}: give the seconds between two lines, a number above 0")
    return seconds


def line_seconds() -> float | None:
    """Seconds between the lines of long work, for threads, which do not inherit it; None: progress is not shown."""
    return _seconds.get()


class Bar:
    """Running work; `advance` moves it and names values to show beside it. This one shows nothing."""

    def advance(self, steps: float = 1, **fields: object) -> None:
        """Move by `steps`; `fields` (loss=0.12, speed="410 texts/s") replace what is shown."""


class _RichBar(Bar):
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: float = 1, **fields: object) -> None:
        updates: dict[str, Any] = {"values": _values(fields)} if fields else {}
        self._progress.update(self._task, advance=steps, **updates)


class _Lines(Bar):
    """Lines of a log; the first after `seconds`, the last at the end of work that had one before."""

    def __init__(self, description: str, total: float | None, completed: float, seconds: float) -> None:
        self._description, self._total, self._seconds = description, total, seconds
        self._begun = self._done = completed
        self._started = self._last = time.monotonic()
        self._fields: dict[str, object] = {}
        self._said = False

    def advance(self, steps: float = 1, **fields: object) -> None:
        self._done += steps
        self._fields |= fields
        if time.monotonic() - self._last >= self._seconds:
            self._say()

    def end(self) -> None:
        """The last line, if there was any."""
        if self._said:
            self._say(last=True)

    def _say(self, *, last: bool = False) -> None:
        self._said, self._last = True, time.monotonic()
        spent = self._last - self._started
        done = f"{self._done:,.0f}"
        times = f"{_clock(spent)} spent"
        if self._total:
            done += f"/{self._total:,.0f} ({100 * self._done / self._total:.0f} %)"
            if not last and self._done > self._begun:
                left = spent * (self._total - self._done) / (self._done - self._begun)
                times += f", {_clock(max(0.0, left))} left"
        parts = [f"{self._description}: {done}", _values(self._fields), times]
        sys.stderr.write("  ".join(part for part in parts if part) + "\n")
        sys.stderr.flush()


def _values(fields: dict[str, object]) -> str:
    return "  ".join(f"{name} {value}" for name, value in fields.items())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def progress_bar(description: str, total: float | None = None, *, completed: float = 0) -> Iterator[Bar]:
    """A bar, or lines, with description, share done, named values, time spent and time left; silent unless `shown`.

    Args:
        total: steps in all; None where that is not known.
        completed: steps done before (a resumed run).
    """
    seconds = _seconds.get()
    if seconds is None or os.environ.get("RANK", "0") != "0":
        yield Bar()
        return
    if not sys.stderr.isatty():
        lines = _Lines(description, total, completed, seconds)
        try:
            yield lines
        finally:
            lines.end()
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
        TextColumn("{task.fields[values]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total, completed=int(completed), values="")
        yield _RichBar(progress, task)


_warned: set[str] = set()


def warn_once(sentence: str) -> None:
    """A warning on standard error, whatever is shown of progress; the same one once in a process."""
    if sentence not in _warned and os.environ.get("RANK", "0") == "0":
        _warned.add(sentence)
        sys.stderr.write(f"warning: {sentence}\n")
        sys.stderr.flush()


def track(items: Iterable[T], description: str, total: float | None = None) -> Iterator[T]:
    """Iterate over `items` with a bar."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(description, total) as bar:
        for item in items:
            yield item
            bar.advance()
