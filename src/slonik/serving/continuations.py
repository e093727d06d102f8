"""Continuations in the making: several prompts of one request, gathered whole or sent as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from slonik.serving.decode_queue import DecodeQueue, Finish, Stream, Wish
from slonik.serving.errors import ApiError
from slonik.serving.schemas import CompletionUsage


@dataclass(frozen=True)
class Continuation:
    """A prompt, what was written after it, and why it ended."""

    prompt: str
    text: str
    finish: Finish


@dataclass(frozen=True)
class Writing:
    """The streams of one request, in the order of its prompts."""

    queue: DecodeQueue
    streams: Sequence[Stream]

    def cancel(self) -> None:
        """Nobody reads any more: stop writing."""
        for stream in self.streams:
            self.queue.cancel(stream)


def submit(queue: DecodeQueue, wishes: Sequence[Wish]) -> Writing:
    """Queue all wishes of a request, or none.

    Raises:
        ApiError: 429 when there is no room for all.
    """
    streams: list[Stream] = []
    try:
        for wish in wishes:
            streams.append(queue.submit(wish))
    except ApiError:
        Writing(queue, streams).cancel()
        raise
    return Writing(queue, streams)


async def collect(writing: Writing) -> list[Continuation]:
    """Every continuation, whole.

    Raises:
        ApiError: the decoder refused a prompt or failed; the others are cancelled.
    """
    made = []
    try:
        for stream in writing.streams:
            pieces: list[str] = []
            async for event in stream.events():
                if isinstance(event, Finish):
                    made.append(Continuation(stream.wish.prompt, "".join(pieces), event))
                else:
                    pieces.append(event)
    except BaseException:
        writing.cancel()
        raise
    return made


async def first_event(writing: Writing) -> str | Finish:
    """The first event of the first stream, awaited before the answer's status is sent.

    Raises:
        ApiError: the decoder refused the prompt or failed.
    """
    try:
        return await anext(writing.streams[0].events())
    except ApiError:
        writing.cancel()
        raise


async def events(
    writing: Writing, first: str | Finish, head: Mapping[str, Any], *, echo: bool, usage: bool
) -> AsyncIterator[bytes]:
    """The server-sent events of an answer, `[DONE]` last; an error in the middle is an event too.

    Args:
        first: what `first_event` gave.
        head: `id`, `created` and `model` of every piece.
        echo: send each prompt first.
        usage: send token counts last, in a piece without choices.
    """
    finished: list[Finish] = []
    try:
        for index, stream in enumerate(writing.streams):
            if echo:
                yield _piece(head, index, stream.wish.prompt)
            async for event in _from(stream, first if index == 0 else None):
                if isinstance(event, Finish):
                    finished.append(event)
                    yield _piece(head, index, "", event.reason)
                else:
                    yield _piece(head, index, event)
        if usage:
            counts = total_usage(finished).model_dump()
            yield _event({**head, "object": "text_completion", "choices": [], "usage": counts})
    except ApiError as error:
        yield _event(error.body())
    finally:
        writing.cancel()
    yield b"data: [DONE]\n\n"


async def _from(stream: Stream, first: str | Finish | None) -> AsyncIterator[str | Finish]:
    if first is not None:
        yield first
    if not isinstance(first, Finish):
        async for event in stream.events():
            yield event


def total_usage(finished: Sequence[Finish]) -> CompletionUsage:
    """Token counts of a whole answer."""
    read = sum(finish.prompt_tokens for finish in finished)
    written = sum(finish.completion_tokens for finish in finished)
    return CompletionUsage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


def _piece(head: Mapping[str, Any], index: int, text: str, reason: str | None = None) -> bytes:
    choice = {"index": index, "text": text, "finish_reason": reason, "logprobs": None}
    return _event({**head, "object": "text_completion", "choices": [choice]})


def _event(content: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"
