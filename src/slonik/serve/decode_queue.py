"""The bounded queue in front of one decoder, and the thread that writes continuations one after another."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from slonik.core.errors import SlonikError
from slonik.core.protocols import Generator
from slonik.serve.errors import ApiError, queue_full
from slonik.serve.metrics import ModelMetrics
from slonik.serve.stopping import Until

_log = logging.getLogger("slonik.serve")


@dataclass(frozen=True)
class Wish:
    """What to write. Fields as in the OpenAI API; `stop` may be empty."""

    prompt: str
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finish:
    """The end of a continuation: why, and how many tokens were read and written."""

    reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


class Stream:
    """The pieces of one continuation, sent from the worker thread to the loop that asked."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.cancelled = False
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[str | Finish | ApiError] = asyncio.Queue()

    def send(self, event: str | Finish | ApiError) -> None:
        """Pass one event on. Runs in the worker thread."""
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self.cancelled = True

    async def events(self) -> AsyncIterator[str | Finish]:
        """Pieces, then the finish.

        Raises:
            ApiError: the decoder refused the prompt or failed.
        """
        while True:
            event = await self._events.get()
            if isinstance(event, ApiError):
                raise event
            yield event
            if isinstance(event, Finish):
                return


class DecodeQueue:
    """Prompts waiting for one decoder.

    Args:
        generator: writes the continuations, a piece per token; where it has `count_tokens(text)` and `max_tokens`
            (its context), they are used.
        max_queue: prompts that may wait.
        metrics: counts prompts.
    """

    def __init__(self, generator: Generator, max_queue: int, metrics: ModelMetrics) -> None:
        self._generator = generator
        self._count: Callable[[str], int] = getattr(generator, "count_tokens", lambda text: len(text.split()))
        self._context: float = getattr(generator, "max_tokens", None) or float("inf")
        self._max_queue = max_queue
        self._metrics = metrics
        self._changed = threading.Condition()
        self._waiting: deque[Stream] = deque()
        self._closing = False
        self._seconds_each = 1.0
        self._thread = threading.Thread(target=self._work, name="decode", daemon=True)
        metrics.watch_queue(lambda: len(self._waiting))

    def start(self) -> None:
        """Start the worker thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, then end the worker thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, wish: Wish) -> Stream:
        """Queue one prompt.

        Raises:
            ApiError: 429 when the queue is full.
        """
        stream = Stream(wish)
        with self._changed:
            if len(self._waiting) >= self._max_queue:
                seconds = max(1, min(60, round(self._seconds_each * len(self._waiting))))
                raise queue_full("prompts", len(self._waiting), self._max_queue, seconds)
            self._waiting.append(stream)
            self._changed.notify()
        return stream

    def cancel(self, stream: Stream) -> None:
        """Forget `stream`: it is not begun, or stops at its next token."""
        with self._changed:
            stream.cancelled = True
            if stream in self._waiting:
                self._waiting.remove(stream)
                self._metrics.dropped(1)

    # Everything below runs in the worker thread.

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                stream = self._waiting.popleft()
            try:
                self._write(stream)
            except SlonikError as error:
                stream.send(ApiError(400, str(error), param="prompt", code="context_length_exceeded"))
            except Exception as error:  # the server outlives any failure of a model
                _log.error("the decoder failed", exc_info=error)
                stream.send(ApiError(500, "the model failed on this input", code="model_failed"))

    def _write(self, stream: Stream) -> None:
        wish = stream.wish
        start = time.perf_counter()
        pieces = Until(
            self._generator.generate(
                wish.prompt, max_tokens=wish.max_tokens, temperature=wish.temperature, top_p=wish.top_p
            ),
            wish.stop,
        )
        for piece in pieces:
            if stream.cancelled:
                return
            if piece:
                stream.send(piece)
        prompt_tokens = self._count(wish.prompt)
        full = pieces.read >= min(wish.max_tokens, self._context - prompt_tokens)
        finish = Finish("length" if full and not pieces.stopped else "stop", prompt_tokens, pieces.read)
        stream.send(finish)
        seconds = time.perf_counter() - start
        self._seconds_each = 0.8 * self._seconds_each + 0.2 * seconds
        self._metrics.batch(1, finish.prompt_tokens + finish.completion_tokens, seconds)
