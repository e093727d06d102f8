"""The bounded queue in front of one decoder, which writes continuations side by side where it can."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from slonik.core.errors import SlonikError
from slonik.core.protocols import Generator
from slonik.runtime.sampling import SamplingConfig
from slonik.runtime.writing import Continuation, Writer, WritingBatch
from slonik.serving.errors import ApiError
from slonik.serving.metrics import ModelMetrics
from slonik.serving.work_queue import WorkQueue, hand_over

_log = logging.getLogger("slonik.serving")


class Until:
    """Passes a text on, piece by piece, up to and without the stop text that is complete first.

    What comes out, joined, depends on what went in, joined, alone: not on how it is divided into pieces.

    Attributes:
        stopped: a stop text was met; nothing more is passed on.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False

    def take(self, piece: str) -> str:
        """What may be sent now that `piece` has come."""
        if self.stopped:
            return ""
        held = self._held + piece
        found = [(place + len(stop), place) for stop in self._stops if (place := held.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return held[: min(found)[1]]
        safe = len(held) - self._open(held)
        self._held = held[safe:]
        return held[:safe]

    def end(self) -> str:
        """What was held back as the beginning of a stop text, and is none."""
        held, self._held = self._held, ""
        return held

    def _open(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop text."""
        longest = max((len(stop) for stop in self._stops), default=1)
        for size in range(min(longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stops):
                return size
        return 0


@dataclass(frozen=True)
class GenerationRequest:
    """What to write. Fields as in the OpenAI API; `stop` may be empty.

    Attributes:
        seed: None = another one for every request.
        number: of the continuation among those of its request, for the seed.
        top_k, repetition_penalty: as in `SamplingConfig`. What is no `Writer` takes none of these, and no seed.
    """

    prompt: str
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    number: int = 0
    top_k: int = 0
    repetition_penalty: float = 1.0

    def sampling(self) -> SamplingConfig:
        """How its tokens are drawn."""
        seed = secrets.randbits(63) if self.seed is None else self.seed % 2**63
        return SamplingConfig(
            max_tokens=self.max_tokens, temperature=self.temperature, top_p=self.top_p, top_k=self.top_k,
            repetition_penalty=self.repetition_penalty, seed=seed,
        )  # fmt: skip


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


@dataclass
class _Running:
    """A continuation that is being written for a stream."""

    stream: Stream
    text: Continuation
    until: Until
    started: float
    sent: int = 0  # tokens whose piece was passed on


class DecodeQueue(WorkQueue[Stream]):
    """Prompts waiting for one decoder.

    A `Writer` writes several of them side by side, each by a token at a time: one that comes while others are being
    written joins them at their next token, and leaves when it has ended or its client is gone. Any other generator
    writes one after another.

    Args:
        generator: writes the continuations, a chunk per token; where it has `count_tokens(text)` and `max_tokens`
            (its context), they are used.
        max_queue: prompts that may wait.
        metrics: counts prompts.
        most_together: texts that are written side by side.
        most_tokens: of these texts, as many times the longest as it may become; one longer text is written alone.
    """

    def __init__(
        self,
        generator: Generator,
        max_queue: int,
        metrics: ModelMetrics,
        *,
        most_together: int = 16,
        most_tokens: int = 16_384,
    ) -> None:
        super().__init__("decode", "prompts", max_queue, metrics, seconds_each=1.0, inertia=0.8)
        self._generator = generator
        self.plain = not isinstance(generator, Writer)  # it takes no top_k, repetition penalty or seed
        self._most_together, self._most_tokens = most_together, most_tokens
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
        if isinstance(self._generator, Writer):
            self._write_together(self._generator)
        elif (stream := self._next()) is not None:
            try:
                self._write_alone(stream)
            except Exception as error:  # the server outlives any failure of a model
                _fail(stream, error)

    def _next(self) -> Stream | None:
        """The prompt that has waited longest; None where there is none."""
        with self._changed:
            if not self._jobs:
                return None
            self._waiting -= 1
            return self._jobs.popleft()

    def _write_together(self, writer: Writer) -> None:
        """Write until nothing is left: what comes meanwhile joins in."""
        batch, running = WritingBatch(writer), list[_Running]()
        held: _Running | None = None  # it has come, and there is no room for it yet
        while True:
            if held is not None and held.stream.cancelled:
                held = None
            while batch.takes_more and (held := held or self._begun(writer)) is not None:
                if not self._fits(held, running):
                    break
                batch.add([held.text])
                running.append(held)
                held = None
            for one in running:
                one.text.cancelled = one.stream.cancelled
            running = [one for one in running if one.text.open]
            if not running and held is None:
                return
            try:
                batch.step()
            except Exception as error:  # the server outlives any failure of a model
                for one in running:
                    one.text.error = error
                batch = WritingBatch(writer)
            for one in running:
                self._pass_on(one, len(running))

    def _begun(self, writer: Writer) -> _Running | None:
        """The next prompt that can be written on; those that cannot are answered."""
        while (stream := self._next()) is not None:
            if stream.cancelled:
                continue
            request = stream.request
            try:
                text = writer.begin(request.prompt, request.sampling(), request.number)
            except Exception as error:
                _fail(stream, error)
                continue
            return _Running(stream, text, Until(request.stop), time.perf_counter())
        return None

    def _fits(self, new: _Running, running: Sequence[_Running]) -> bool:
        if not running:
            return True
        together = [new, *running]
        longest = max(one.text.most_tokens for one in together)
        return len(together) <= self._most_together and len(together) * longest <= self._most_tokens

    def _pass_on(self, one: _Running, together: int) -> None:
        """Send what the last step has written of a text, and its end."""
        stream, text = one.stream, one.text
        if text.error is not None:
            _log.error("the decoder failed", exc_info=text.error)
            sentence = str(text.error) if isinstance(text.error, SlonikError) else "the model failed on this input"
            stream.send(ApiError(500, sentence, code="model_failed"))
            return
        if len(text.written) > one.sent:
            one.sent = len(text.written)
            if piece := one.until.take(text.piece()):
                stream.send(piece)
        if text.finish is not None and (piece := one.until.take(text.rest())):  # as `slonik generate` shows it
            stream.send(piece)
        if text.finish is None and not one.until.stopped:
            return
        text.cancelled = True  # a stop text ends it too
        if rest := one.until.end():
            stream.send(rest)
        stopped = one.until.stopped or text.finish == "stop"
        finish = Finish("stop" if stopped else "length", len(text.ids), len(text.written))
        stream.send(finish)
        seconds = (time.perf_counter() - one.started) / together
        self._done(1, finish.prompt_tokens + finish.completion_tokens, seconds)

    def _write_alone(self, stream: Stream) -> None:
        request, start, read = stream.request, time.perf_counter(), 0
        if request.top_k or request.repetition_penalty != 1:
            name = "top_k" if request.top_k else "repetition_penalty"
            raise SlonikError(f"{self._generator.name} takes no {name}: leave the field out")
        until = Until(request.stop)
        for chunk in self._generator.generate(
            request.prompt, max_tokens=request.max_tokens, temperature=request.temperature, top_p=request.top_p
        ):
            if stream.cancelled:
                return
            read += 1
            if piece := until.take(chunk):
                stream.send(piece)
            if until.stopped:
                break
        if rest := until.end():
            stream.send(rest)
        prompt_tokens = self._count(request.prompt)
        full = read >= min(request.max_tokens, self._context - prompt_tokens)
        stream.send(Finish("length" if full and not until.stopped else "stop", prompt_tokens, read))
        self._done(1, prompt_tokens + read, time.perf_counter() - start)


def _fail(stream: Stream, error: Exception) -> None:
    """Answer `stream` with what went wrong: a prompt that is refused, or a model that failed."""
    if isinstance(error, SlonikError):
        stream.send(ApiError(400, str(error), param="prompt", code="context_length_exceeded"))
        return
    _log.error("the decoder failed", exc_info=error)
    stream.send(ApiError(500, "the model failed on this input", code="model_failed"))
