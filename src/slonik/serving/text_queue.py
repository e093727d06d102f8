"""The bounded queue in front of one encoder, classifier or tagger: how its workers make batches of texts and run them.

Requests are served in turn, a batch's worth of texts each, so that a request of two thousand texts does not hold up
a request of one. A worker that is free tokenises a few texts, chooses a batch of like lengths with at most
`max_batch_tokens` (`choose_batch`), and runs the model on it; there is one worker, or one per processor where the model
itself uses a single one. A request whose client disconnected is dropped before the model has seen it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

from slonik.core.errors import NotNumbers, SlonikError
from slonik.core.protocols import LongTexts
from slonik.serving.engine import Engine
from slonik.serving.errors import ApiError
from slonik.serving.jobs import Item, Job, Unit
from slonik.serving.metrics import ModelMetrics
from slonik.serving.work_queue import WorkQueue, hand_over

_log = logging.getLogger("slonik.serving")

_ONE = re.compile(r"^(row|text) 1:? ")  # as a model calls the only one that it was given
_WINDOW_BATCHES = 2  # tokenised texts kept ready, in batches: enough to find like lengths, few enough to be fair
_CHARACTERS_PER_TOKEN = 4  # about, in Russian: how many texts to tokenise for a window

_SPREAD_TOKENS = 16  # texts of at most this difference share a batch whatever their length
_SPREAD_RATIO = 0.25  # above that, a text may be padded by this share of the longest


def choose_batch(lengths: Sequence[int], max_tokens: int, max_texts: int = 256) -> list[int]:
    """Positions of the texts of the next batch.

    It has the one that has waited longest, so that nothing starves, and from it the nearest lengths on either side, so
    that little is padded.

    Args:
        lengths: tokens of each waiting text, the one that has waited longest first.
        max_tokens: the most tokens of a padded batch (texts x longest); the first text is taken even if longer.
        max_texts: the most texts of a batch.

    Returns:
        Positions in order of length; position 0 is among them. Empty when nothing waits.
    """
    if not lengths:
        return []
    order = sorted(range(len(lengths)), key=lambda position: (lengths[position], position))
    sizes = [lengths[position] for position in order]
    low = order.index(0)
    high = low + 1
    while high - low < max_texts:
        step = _cheaper_side(sizes, low, high, max_tokens)
        if step == 0:
            break
        low, high = (low - 1, high) if step < 0 else (low, high + 1)
    return order[low:high]


def _cheaper_side(sizes: Sequence[int], low: int, high: int, max_tokens: int) -> int:
    """-1 to take the next shorter text, 1 the next longer, 0 when neither fits."""
    shorter = _padding(sizes, low - 1, high, max_tokens) if low > 0 else None
    longer = _padding(sizes, low, high + 1, max_tokens) if high < len(sizes) else None
    if shorter is None:
        return 0 if longer is None else 1
    return -1 if longer is None or shorter <= longer else 1


def _padding(sizes: Sequence[int], low: int, high: int, max_tokens: int) -> int | None:
    """Padded tokens added to sizes[low:high] by its outermost texts; None when it may not be a batch."""
    shortest, longest = sizes[low], sizes[high - 1]
    if longest * (high - low) > max_tokens:
        return None
    if longest - shortest > max(_SPREAD_TOKENS, int(longest * _SPREAD_RATIO)):
        return None
    return longest - shortest


class TextQueue(WorkQueue[Job]):
    """Texts waiting for one model.

    Args:
        engine: tokenises and runs the model.
        max_batch_tokens: the most padded tokens of one batch.
        max_queue: texts that may wait; a larger request is taken only when nothing waits.
        metrics: counts texts and batches.
    """

    def __init__(self, engine: Engine, max_batch_tokens: int, max_queue: int, metrics: ModelMetrics) -> None:
        super().__init__("texts", "texts", max_queue, metrics, workers=engine.workers)
        self.engine = engine
        self._max_batch_tokens = max_batch_tokens
        self._batching = threading.Lock()  # held by the worker that makes a batch
        self._ready: list[Unit] = []  # tokenised, oldest first; guarded by _batching
        self._storing = threading.Lock()  # over the answers of jobs

    def submit(
        self, texts: Sequence[Item], prefix: str = "", long_texts: LongTexts | None = None, field: str = "input"
    ) -> Job:
        """Queue the texts of one request; await `done` of the job, and `cancel` it when the client is gone.

        Args:
            long_texts: what happens to texts that are too long; None = the model's own way.
            field: what the request calls its texts.

        Raises:
            ApiError: 429 when the queue is full.
        """
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        job = Job.of(texts, prefix, long_texts or self.engine.long_texts, done, field)
        self._put(job, len(job.texts))
        return job

    def cancel(self, job: Job) -> None:
        """Forget `job`: what no batch has begun never reaches the model."""
        with self._changed:
            if not job.cancelled:
                job.cancelled = True
                dropped = len(job.texts) - job.begun
                self._forget(job, dropped)
                self._metrics.dropped(dropped)

    # Everything below runs in the worker threads.

    def _step(self) -> None:
        with self._batching:
            batch = self._next_batch()
        try:
            self._run(batch)
        except Exception as error:  # a mistake here must not stop the queue
            _log.error("the queue failed on a batch", exc_info=error)
            for unit in batch:
                self._fail(unit.job, ApiError(500, "the server failed on this request", code="server_failed"))

    def _next_batch(self) -> list[Unit]:
        """Take the next batch; empty when another worker, or a client that disconnected, left nothing."""
        self._fill()
        lengths = [unit.tokens.count for unit in self._ready]
        chosen = choose_batch(lengths, self._max_batch_tokens, self.engine.batch_texts)
        batch = [self._ready[position] for position in chosen]
        taken = set(chosen)
        self._ready = [unit for position, unit in enumerate(self._ready) if position not in taken]
        return self._begin(batch)

    def _fill(self) -> None:
        """Drop what was cancelled, then tokenise more texts until there are enough to choose from."""
        self._ready = [unit for unit in self._ready if not unit.job.cancelled and unit.job.error is None]
        most_texts = _WINDOW_BATCHES * self.engine.batch_texts
        room = _WINDOW_BATCHES * self._max_batch_tokens - sum(unit.tokens.count for unit in self._ready)
        while room > 0 and (taken := self._take(most_texts - len(self._ready), room * _CHARACTERS_PER_TOKEN)):
            units = self._tokenize(taken)
            self._ready += units
            room -= sum(unit.tokens.count for unit in units)

    def _take(self, most_texts: int, most_characters: int) -> list[tuple[Job, int]]:
        """The next few texts, from each request in turn; the last one may pass `most_characters`."""
        taken: list[tuple[Job, int]] = []
        characters = 0
        with self._changed:
            while self._jobs and len(taken) < most_texts and characters < most_characters:
                job = self._jobs[0]
                size = job.characters(job.taken)
                taken.append((job, job.taken))
                characters += size
                job.taken += 1
                job.turn_characters += size
                if job.taken == len(job.texts):
                    self._jobs.popleft()
                elif job.turn_characters >= self._max_batch_tokens * _CHARACTERS_PER_TOKEN:
                    job.turn_characters = 0
                    self._jobs.rotate(-1)
        return taken

    def _tokenize(self, taken: Sequence[tuple[Job, int]]) -> list[Unit]:
        try:
            prepared = list(self.engine.prepare(taken))
        except Exception as error:  # the worker outlives any text
            if len(taken) > 1:
                return [unit for one in taken for unit in self._tokenize([one])]
            _log.error("a text could not be tokenised", exc_info=error)
            self._fail(taken[0][0], ApiError(500, "the model failed on this input", code="model_failed"))
            return []
        units = []
        for job, index, result in prepared:
            if isinstance(result, ApiError):
                self._fail(job, result)
            elif job.error is None:
                job.count(index, result)
                units.append(Unit(job, index, result))
        return units

    def _begin(self, batch: list[Unit]) -> list[Unit]:
        """The units of `batch` that somebody still waits for; they stop counting as waiting."""
        with self._changed:
            wanted = [unit for unit in batch if not unit.job.cancelled and unit.job.error is None]
            for unit in wanted:
                unit.job.begun += 1
            self._waiting -= len(wanted)
            if self._ready:
                self._changed.notify()  # another worker may have found nothing while this one tokenised
        return wanted

    def _run(self, batch: list[Unit]) -> None:
        if not batch:
            return
        start = time.perf_counter()
        try:
            results = self.engine.run([unit.tokens for unit in batch])
            if len(results) != len(batch):
                raise ValueError(f"{len(results)} answers for {len(batch)} texts")
        except Exception as error:  # the server outlives any failure of a model
            self._run_apart(batch, error)
            return
        self._deliver(batch, results)
        seconds = time.perf_counter() - start
        self._done(len(batch), sum(unit.tokens.count for unit in batch), seconds)

    def _run_apart(self, batch: list[Unit], error: Exception) -> None:
        """A batch failed: run its texts one by one, so that only the text at fault is refused."""
        if len(batch) == 1:
            unit = batch[0]
            self._fail(unit.job, _refusal(unit, error))
            return
        for unit in batch:
            if unit.job.error is None:
                self._run([unit])

    def _deliver(self, batch: list[Unit], results: Sequence[Any]) -> None:
        with self._storing:
            finished = [unit.job for unit, one in zip(batch, results, strict=True) if unit.job.store(unit.index, one)]
        _resolve(finished)

    def _fail(self, job: Job, error: ApiError) -> None:
        """Answer `job` with `error` and forget the rest of its texts."""
        with self._changed:
            if job.error is not None:
                return
            job.error = error
            if not job.cancelled:
                job.cancelled = True
                self._forget(job, len(job.texts) - job.begun)
        _resolve([job])


def _refusal(unit: Unit, error: Exception) -> ApiError:
    """What the client is told of a text on which the model failed: its mistake in a sentence; the rest is logged."""
    sentence = _ONE.sub("", str(error))
    if isinstance(error, SlonikError) and not isinstance(error, NotNumbers):
        name = unit.job.name_of(unit.index)
        return ApiError(400, f"{name}: {sentence}", param=name, code="invalid_value")
    _log.error("the model failed on a text of %d tokens", unit.tokens.count, exc_info=error)
    if isinstance(error, NotNumbers):
        return ApiError(500, sentence, code="model_failed")
    return ApiError(500, "the model failed on this input", code="model_failed")


def _resolve(jobs: list[Job]) -> None:
    """Wake those who wait for `jobs`, with one call per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.done.get_loop(), []).append(job)
    for loop, group in by_loop.items():
        hand_over(loop, _resolve_all, group)


def _resolve_all(jobs: list[Job]) -> None:
    for job in jobs:
        job.resolve()
