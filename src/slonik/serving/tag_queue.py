"""The bounded queue in front of one tagger: how texts are taken from it and tagged.

Texts of several requests go into one call, a few from each request in turn, so that a request of a thousand texts does
not hold up a request of one. A request whose client disconnected is dropped before it is tagged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from slonik.serving.errors import ApiError
from slonik.serving.metrics import ModelMetrics
from slonik.serving.work_queue import WorkQueue, hand_over

_log = logging.getLogger("slonik.serving")

_BATCH_TEXTS = 32
_BATCH_CHARACTERS = 16_384
_TURN_CHARACTERS = 8_192  # of one request, before the next has its turn
_CHARACTERS_PER_TOKEN = 4  # about, for the metrics

Found = Sequence[Any]  # spans with start, end, label, confidence


@runtime_checkable
class SpanTagger(Protocol):
    """What is served: see `slonik.data.annotations.document.Tagger`."""

    name: str
    labels: tuple[str, ...]

    def tag(self, texts: Sequence[str]) -> Sequence[Found]:
        """Spans of each text, in order."""
        ...


@dataclass(eq=False)
class TagJob:
    """The texts of one request; `done` gets their spans, on the loop that made the job."""

    texts: Sequence[str]
    done: asyncio.Future[list[Found]]
    taken: int = 0
    left: int = 0
    cancelled: bool = False
    found: list[Found | None] = field(default_factory=list)


class TagQueue(WorkQueue[TagJob]):
    """Texts waiting for one tagger.

    Args:
        tagger: called by one thread at a time.
        max_queue: texts that may wait; a larger request is taken only when nothing waits.
        metrics: counts texts and batches.
    """

    def __init__(self, tagger: SpanTagger, max_queue: int, metrics: ModelMetrics) -> None:
        super().__init__("tag", "texts", max_queue, metrics)
        self._tagger = tagger

    def submit(self, texts: Sequence[str]) -> TagJob:
        """Queue the texts of one request; await `done` of the job, and `cancel` it when the client is gone.

        Raises:
            ApiError: 429 when the queue is full.
        """
        job = TagJob(texts, asyncio.get_running_loop().create_future(), left=len(texts), found=[None] * len(texts))
        self._put(job, len(texts))
        return job

    def cancel(self, job: TagJob) -> None:
        """Forget `job`: what no call has taken is never tagged."""
        with self._changed:
            self._drop(job)

    def _drop(self, job: TagJob) -> None:
        if not job.cancelled:
            job.cancelled = True
            rest = len(job.texts) - job.taken
            self._forget(job, rest)
            self._metrics.dropped(rest)

    # Everything below runs in the worker thread.

    def _step(self) -> None:
        with self._changed:
            batch = self._take()
        if batch:
            self._run(batch)

    def _take(self) -> list[tuple[TagJob, int]]:
        """The next texts, a few from each request in turn; the last one may pass the limit of characters."""
        taken: list[tuple[TagJob, int]] = []
        characters = 0
        while self._jobs and len(taken) < _BATCH_TEXTS and characters < _BATCH_CHARACTERS:
            job = self._jobs[0]
            turn = 0
            while job.taken < len(job.texts) and turn < _TURN_CHARACTERS and len(taken) < _BATCH_TEXTS:
                taken.append((job, job.taken))
                turn += 1 + len(job.texts[job.taken])
                job.taken += 1
            characters += turn
            if job.taken == len(job.texts):
                self._jobs.popleft()
            else:
                self._jobs.rotate(-1)
        self._waiting -= len(taken)
        return taken

    def _run(self, batch: list[tuple[TagJob, int]]) -> None:
        texts = [job.texts[index] for job, index in batch]
        start = time.perf_counter()
        try:
            found = self._tagger.tag(texts)
            if len(found) != len(texts):
                raise ValueError(f"{len(found)} answers for {len(texts)} texts")
        except Exception as error:  # the server outlives any failure of a model
            self._run_apart(batch, error)
            return
        seconds = time.perf_counter() - start
        self._done(len(batch), sum(map(len, texts)) // _CHARACTERS_PER_TOKEN, seconds)
        for (job, index), spans in zip(batch, found, strict=True):
            job.found[index] = spans
            job.left -= 1
            if job.left == 0:
                _answer(job, list(job.found))

    def _run_apart(self, batch: list[tuple[TagJob, int]], error: Exception) -> None:
        """A call failed: tag its texts one by one, so that only the request at fault is refused."""
        if len(batch) == 1:
            job, index = batch[0]
            _log.error("the tagger failed on a text of %d characters", len(job.texts[index]), exc_info=error)
            with self._changed:
                self._drop(job)
            _answer(job, ApiError(500, "the model failed on this input", code="model_failed"))
            return
        for one in batch:
            if not one[0].cancelled:
                self._run([one])


def _answer(job: TagJob, answer: list[Any] | ApiError) -> None:
    """Wake whoever waits for `job`."""

    def resolve() -> None:
        if job.done.done():
            return
        if isinstance(answer, ApiError):
            job.done.set_exception(answer)
        else:
            job.done.set_result(answer)

    hand_over(job.done.get_loop(), resolve)
