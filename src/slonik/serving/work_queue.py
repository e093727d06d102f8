"""What waits for one model, within bounds, and the threads that do it: the same for encoders, decoders and taggers.

Counts what waits, refuses what would be too much, says when to come back, and ends its workers once it is closed and
empty. What a job is and how it is done, batches among it, is up to the queue of each kind of model.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from slonik.serving.errors import queue_full
from slonik.serving.metrics import ModelMetrics

_log = logging.getLogger("slonik.serving")

_LONGEST_RETRY_SECONDS = 60

Job = TypeVar("Job")


class WorkQueue(ABC, Generic[Job]):
    """Jobs of clients, each of one or more units of work, and the worker threads that call `_step`.

    Args:
        name: of the threads.
        unit: what waits, as a client is told: "texts", "prompts".
        max_queue: units that may wait; a larger job is taken only when nothing waits.
        metrics: counts units and batches.
        workers: threads.
        seconds_each: what a unit may take, as long as none has been done.
        inertia: share of what was known when another batch says how long a unit takes.
    """

    def __init__(
        self,
        name: str,
        unit: str,
        max_queue: int,
        metrics: ModelMetrics,
        *,
        workers: int = 1,
        seconds_each: float = 0.0,
        inertia: float = 0.9,
    ) -> None:
        self._unit, self._max_queue, self._metrics = unit, max_queue, metrics
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()  # with units that no worker has taken; guarded by _changed
        self._waiting = 0  # units that no worker has begun; guarded by _changed
        self._closing = False
        self._seconds_each, self._inertia = seconds_each, inertia
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for _ in range(workers)]
        metrics.watch_queue(lambda: self._waiting)

    def start(self) -> None:
        """Start the worker threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Do what is waiting, then end the worker threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _put(self, job: Job, units: int) -> None:
        """Let `job` wait.

        Raises:
            ApiError: 429 when the queue is full.
        """
        with self._changed:
            if self._waiting and self._waiting + units > self._max_queue:
                raise queue_full(self._unit, self._waiting, self._max_queue, self._retry_seconds())
            self._waiting += units
            self._jobs.append(job)
            self._changed.notify()

    def _retry_seconds(self) -> int:
        seconds = self._waiting * self._seconds_each / len(self._threads)
        return max(1, min(_LONGEST_RETRY_SECONDS, round(seconds)))

    def _forget(self, job: Job, units: int) -> None:
        """The last `units` of `job`, which nobody has begun, will never be done. Called with `_changed` held."""
        self._waiting -= units
        if job in self._jobs:
            self._jobs.remove(job)

    # Everything below runs in the worker threads.

    def _work(self) -> None:
        while self._wait():
            self._step()

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when the queue is closed and empty."""
        with self._changed:
            while not (self._waiting or self._closing):
                self._changed.wait()
            return self._waiting > 0

    @abstractmethod
    def _step(self) -> None:
        """Do the next units and take them off `_waiting`; another worker, or a client that disconnected, may have left
        none. Fails for nothing that a job or the model does."""

    def _done(self, units: int, tokens: int, seconds: float) -> None:
        """Count what has passed through the model at once, and learn from it how long a unit takes."""
        self._metrics.batch(units, tokens, seconds)
        each, known = seconds / units, self._seconds_each
        self._seconds_each = self._inertia * known + (1 - self._inertia) * each if known else each


def hand_over(loop: asyncio.AbstractEventLoop, take: Callable[..., object], *answer: object) -> bool:
    """Have `loop` call `take(*answer)` in its own thread; False when it is closed, and so nobody waits any more."""
    try:
        loop.call_soon_threadsafe(take, *answer)
    except RuntimeError:
        _log.debug("an answer came after the server had stopped")
        return False
    return True
