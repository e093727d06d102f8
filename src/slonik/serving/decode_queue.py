"""The bounded queue in front of one decoder, which writes continuations one after another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from slonik.core.errors import SlonikError
from slonik.core.protocols import Generator
from slonik.serving.errors import ApiError
from slonik.serving.metrics import ModelMetrics
from slonik.serving.work_queue import WorkQueue, hand_over

_log = logging.getLogger("slonik.serving")


class Until:
    """Iterates over `chunks` up to, and without, the stop text that is complete first.

    The joined output depends on the joined input alone, not on how it is divided into chunks.

    Attributes:
        read: chunks read so far.
        stopped: a stop text was met.
    """

    def __init__(self, chunks: Iterator[str], stops: Sequence[str]) -> None:
        self._chunks = chunks
        self._stops = stops
        self.read = 0
        self.stopped = False

    def __iter__(self) -> Iterator[str]:
        held = ""
        for chunk in self._chunks:
            self.read += 1
            held += chunk
            found = [(place + len(stop), place) for stop in self._stops if (place := held.find(stop)) >= 0]
            if found:
                self.stopped = True
                yield held[: min(found)[1]]
                return
            safe = len(held) - self._open(held)
            yield held[:safe]
            held = held[safe:]
        if held:
            yield held

    def _open(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop text."""
        longest = max((len(stop) for stop in self._stops), default=1)
        for size in range(min(longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stops):
                return size
        return 0


@dataclass(frozen=True)
class GenerationRequest:
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
    """The chunks of one continuation, sent from the worker thread to the loop that asked."""

    def __init__(self, request: GenerationRequest) -> None:
        self.request = request
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
        generator: writes the continuations, a chunk per token; where it has `count_tokens(text)` and `max_tokens`
            (its context), they are used.
        max_queue: prompts that may wait.
        metrics: counts prompts.
    """

    def __init__(self, generator: Generator, max_queue: int, metrics: ModelMetrics) -> None:
        super().__init__("decode", "prompts", max_queue, metrics, seconds_each=1.0, inertia=0.8)
        self._generator = generator
        self._count: Callable[[str], int] = getattr(generator, "count_tokens", lambda text: len(text.split()))
        self._context: float = getattr(generator, "max_tokens", None) or float("inf")

    def submit(self, request: GenerationRequest) -> Stream:
        """Queue one prompt.

        Raises:
            ApiError: 429 when the queue is full.
        """
        stream = Stream(request)
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
        request = stream.request
        start = time.perf_counter()
        chunks = Until(
            self._generator.generate(
                request.prompt, max_tokens=request.max_tokens, temperature=request.temperature, top_p=request.top_p
            ),
            request.stop,
        )
        for chunk in chunks:
            if stream.cancelled:
                return
            if chunk:
                stream.send(chunk)
        prompt_tokens = self._count(request.prompt)
        full = chunks.read >= min(request.max_tokens, self._context - prompt_tokens)
        finish = Finish("length" if full and not chunks.stopped else "stop", prompt_tokens, chunks.read)
        stream.send(finish)
        self._done(1, finish.prompt_tokens + finish.completion_tokens, time.perf_counter() - start)
