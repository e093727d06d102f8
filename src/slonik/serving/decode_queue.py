"""The bounded queue in front of one decoder, which writes continuations one after another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from slonik.core.errors import SlonikError
from slonik.core.protocols import Generator
from slonik.serving.errors import ApiError
from slonik.serving.metrics import ModelMetrics
from slonik.serving.stopping import Until
from slonik.serving.work_queue import WorkQueue, hand_over

_log = logging.getLogger("slonik.serving")


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
        if not hand_over(self._loop, self._events.put_nowait, event):
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


class DecodeQueue(WorkQueue[Stream]):
    """Prompts waiting for one decoder.

    Args:
        generator: writes the continuations, a piece per token; where it has `count_tokens(text)` and `max_tokens`
            (its context), they are used.
        max_queue: prompts that may wait.
        metrics: counts prompts.
    """

    def __init__(self, generator: Generator, max_queue: int, metrics: ModelMetrics) -> None:
        super().__init__("decode", "prompts", max_queue, metrics, seconds_each=1.0, inertia=0.8)
        self._generator = generator
        self._count: Callable[[str], int] = getattr(generator, "count_tokens", lambda text: len(text.split()))
        self._context: float = getattr(generator, "max_tokens", None) or float("inf")

    def submit(self, wish: Wish) -> Stream:
        """Queue one prompt.

        Raises:
            ApiError: 429 when the queue is full.
        """
        stream = Stream(wish)
        self._put(stream, 1)
        return stream

    def cancel(self, stream: Stream) -> None:
        """Forget `stream`: it is not begun, or stops at its next token."""
        with self._changed:
            stream.cancelled = True
            if stream in self._jobs:
                self._forget(stream, 1)
                self._metrics.dropped(1)

    # Everything below runs in the worker thread.

    def _step(self) -> None:
        with self._changed:
            if not self._jobs:
                return
            stream = self._jobs.popleft()
            self._waiting -= 1
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
        self._done(1, finish.prompt_tokens + finish.completion_tokens, time.perf_counter() - start)
