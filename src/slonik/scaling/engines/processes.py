"""The local engine: tasks in processes of this machine, one at a time in each; with one worker, in this process.

A worker that dies (killed for memory, a crash of a library) is named with what it worked on; another takes its place,
and the other tasks go on. Workers are started as programs of their own (`worker`), so that scripts need no guard around
their main part, and have their own log for what libraries print.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Self

from slonik.core.progress import Bar, progress_bar
from slonik.scaling.engines.stage import ONE_THREAD, Stage, StageExecutor, check

_MOST_DEATHS = 3
"""Workers that may die in one stage, beside one per worker, before it is given up: memory will not suffice either."""


class Processes:
    """Runs stages in `workers` processes; a context that ends them."""

    def __init__(self, workers: int) -> None:
        self._count = workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end(at_once=kind is not None)
        self._workers = []

    def run(self, stage: Stage, folder: str) -> None:
        """See `Engine.run`."""
        executor = StageExecutor(stage, folder)
        todo = executor.todo()
        lost: dict[int, str] = {}
        with progress_bar(stage.title, total=stage.tasks, completed=stage.tasks - len(todo)) as bar:
            if self._count == 1:
                for rank in todo:
                    executor.run_task(rank)
                    bar.advance(1)
            elif todo:
                self._share(executor, todo, lost, stage.label, bar)
        check(stage, executor, lost)

    def _share(
        self, executor: StageExecutor, todo: list[int], lost: dict[int, str], label: Callable[[int], str], bar: Bar
    ) -> None:
        waiting = todo[::-1]
        while len(self._workers) < min(self._count, len(todo)):
            self._workers.append(_Worker(len(self._workers) + 1))
        for worker in self._workers:
            if waiting:
                worker.give(executor, waiting.pop())
        while busy := [worker for worker in self._workers if worker.rank is not None]:
            ready = wait([worker.connection for worker in busy])
            for worker in (one for one in busy if one.connection in ready):
                rank = worker.rank
                assert rank is not None
                if (words := worker.ended()) is not None:
                    lost[rank] = words
                    worker.begin()
                bar.advance(1)
                if waiting and len(lost) < self._count + _MOST_DEATHS:
                    worker.give(executor, waiting.pop())


class _Worker:
    """A process that runs one task at a time.

    Attributes:
        connection: readable when the task has ended or the process has.
        rank: the task that it works on.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.rank: int | None = None
        self._log: Path | None = None
        self.begin()

    def begin(self) -> None:
        """Start the process."""
        mine, its = socket.socketpair()
        paths = os.pathsep.join(path for path in sys.path if path)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "slonik.scaling.engines.worker", str(its.fileno())],
                pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=os.environ | ONE_THREAD | {"PYTHONPATH": paths}, start_new_session=True,
            )  # fmt: skip
        self.connection = Connection(mine.detach())

    def give(self, executor: StageExecutor, rank: int) -> None:
        """Hand a task over."""
        self.rank = rank
        with contextlib.suppress(OSError):  # it is gone already: `ended` will tell
            self.connection.send((executor, rank))

    def ended(self) -> str | None:
        """None where the task has ended by itself; else how the process has."""
        try:
            self.connection.recv()
            self.rank = None
            return None
        except (EOFError, OSError):
            code = self._process.wait()
            self.connection.close()
            self.rank = None
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        advice = "; memory is the usual reason: take fewer workers" if code == -signal.SIGKILL else ""
        return f"its worker {self.number} (process {self._process.pid}) {how}{advice}"

    def end(self, *, at_once: bool) -> None:
        """Have the process end."""
        if at_once:
            self._process.terminate()
        self.connection.close()
        self._process.wait()
