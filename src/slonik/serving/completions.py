"""POST /v1/completions and POST /gpt3/predict: continuations, whole or as server-sent events."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from slonik.serving.completion_schemas import (
    Choice,
    CompletionsRequest,
    CompletionsResponse,
    CompletionUsage,
    PredictRequest,
    PredictResponse,
)
from slonik.serving.decode_queue import DecodeQueue, Finish, GenerationRequest, Stream
from slonik.serving.errors import ApiError
from slonik.serving.openapi import post
from slonik.serving.requests import read_body, unless_disconnected
from slonik.serving.served import Catalogue
from slonik.serving.settings import ServeSettings


@dataclass(frozen=True)
class Continuation:
    """A prompt, what was written after it, and why it ended."""

    prompt: str
    text: str
    finish: Finish


@dataclass(frozen=True)
class StreamGroup:
    """The streams of one request, in the order of its prompts."""

    queue: DecodeQueue
    streams: Sequence[Stream]

    def cancel(self) -> None:
        """Nobody reads any more: stop generating."""
        for stream in self.streams:
            self.queue.cancel(stream)


def submit(queue: DecodeQueue, requests: Sequence[GenerationRequest]) -> StreamGroup:
    """Queue all prompts of a request, or none.

    Raises:
        ApiError: 429 when there is no room for all.
    """
    streams: list[Stream] = []
    try:
        for request in requests:
            streams.append(queue.submit(request))
    except ApiError:
        StreamGroup(queue, streams).cancel()
        raise
    return StreamGroup(queue, streams)


async def collect(group: StreamGroup) -> list[Continuation]:
    """Every continuation, whole.

    Raises:
        ApiError: the decoder refused a prompt or failed; the others are cancelled.
    """
    made = []
    try:
        for stream in group.streams:
            chunks: list[str] = []
            async for event in stream.events():
                if isinstance(event, Finish):
                    made.append(Continuation(stream.request.prompt, "".join(chunks), event))
                else:
                    chunks.append(event)
    except BaseException:
        group.cancel()
        raise
    return made


async def first_event(group: StreamGroup) -> str | Finish:
    """The first event of the first stream, awaited before the answer's status is sent.

    Raises:
        ApiError: the decoder refused the prompt or failed.
    """
    try:
        return await anext(group.streams[0].events())
    except ApiError:
        group.cancel()
        raise


async def events(
    group: StreamGroup, first: str | Finish, head: Mapping[str, Any], *, echo: bool, usage: bool
) -> AsyncGenerator[bytes, None]:
    """The server-sent events of an answer, `[DONE]` last; an error in the middle is an event too.

    Args:
        first: what `first_event` gave.
        head: `id`, `created` and `model` of every chunk.
        echo: send each prompt first.
        usage: send token counts last, in a chunk without choices.
    """
    finished: list[Finish] = []
    try:
        for index, stream in enumerate(group.streams):
            if echo:
                yield _chunk(head, index, stream.request.prompt)
            async for event in _from(stream, first if index == 0 else None):
                if isinstance(event, Finish):
                    finished.append(event)
                    yield _chunk(head, index, "", event.reason)
                else:
                    yield _chunk(head, index, event)
        if usage:
            counts = total_usage(finished).model_dump()
            yield _event({**head, "object": "text_completion", "choices": [], "usage": counts})
    except ApiError as error:
        yield _event(error.body())
    finally:
        group.cancel()
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


def _chunk(head: Mapping[str, Any], index: int, text: str, reason: str | None = None) -> bytes:
    choice = {"index": index, "text": text, "finish_reason": reason, "logprobs": None}
    return _event({**head, "object": "text_completion", "choices": [choice]})


def _event(content: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


class EventResponse(StreamingResponse):
    """Server-sent events of a group of streams, which is cancelled when its client is gone, begun or not."""

    def __init__(self, group: StreamGroup, sent: AsyncGenerator[bytes, None]) -> None:
        super().__init__(sent, media_type="text/event-stream")
        self._group, self._sent = group, sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._group.cancel()
            await self._sent.aclose()


_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
_PREDICT_TOKENS = 60  # a short paragraph, as the public API wrote
_PREDICT_TOP_P = 0.95


def completions_router(models: Catalogue, settings: ServeSettings) -> APIRouter:
    """Both routes, for the decoders of `models`."""
    router = APIRouter()
    names = list(dict.fromkeys(served.card.id for served in models.decoders.values()))
    limits: dict[str, Any] = {"model": {"enum": names}} if names else {}
    if models.decoders and all(served.queue.plain for served in models.decoders.values()):
        limits |= {"top_k": {"enum": [0]}, "repetition_penalty": {"enum": [1.0]}}
    completions_page = post(CompletionsRequest, CompletionsResponse, limits)
    completions_page["responses"][200]["content"] = {"text/event-stream": {"schema": _EVENT}}

    @router.post("/v1/completions", **completions_page)
    async def completions(request: Request) -> Response:
        """Continue one or more texts; with `stream`, send chunks as server-sent events as they are written."""
        wanted = await read_body(request, CompletionsRequest, settings)
        served = models.decoder(wanted.model)
        group = submit(served.queue, _requests(wanted))
        head = {"id": f"cmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": served.card.id}
        if wanted.stream:
            first = await unless_disconnected(request, asyncio.ensure_future(first_event(group)), group.cancel)
            usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
            return EventResponse(group, events(group, first, head, echo=wanted.echo, usage=usage))
        return JSONResponse(_answer(await _whole(request, group), head, wanted.echo))

    @router.post("/gpt3/predict", **post(PredictRequest, PredictResponse))
    async def predict(request: Request) -> Response:
        """Continue a text, as the public ruGPT-3 API did: the answer is the text and its continuation."""
        wanted = await read_body(request, PredictRequest, settings)
        asked = GenerationRequest(wanted.text, _PREDICT_TOKENS, top_p=_PREDICT_TOP_P)
        [made] = await _whole(request, submit(models.decoder().queue, [asked]))
        return JSONResponse({"predictions": wanted.text + made.text})

    return router


def _requests(wanted: CompletionsRequest) -> list[GenerationRequest]:
    return [
        GenerationRequest(
            prompt, wanted.max_tokens, wanted.temperature, wanted.top_p, wanted.stops, seed=wanted.seed, number=number,
            top_k=wanted.top_k, repetition_penalty=wanted.repetition_penalty,
        )
        for number, prompt in enumerate(wanted.prompts)
    ]  # fmt: skip


async def _whole(request: Request, group: StreamGroup) -> list[Continuation]:
    """All continuations, unless the client disconnects first."""
    return await unless_disconnected(request, asyncio.ensure_future(collect(group)), group.cancel)


def _answer(made: list[Continuation], head: dict[str, Any], echo: bool) -> dict[str, Any]:
    choices = [
        Choice(index=index, text=(one.prompt if echo else "") + one.text, finish_reason=one.finish.reason)
        for index, one in enumerate(made)
    ]
    usage = total_usage([one.finish for one in made])
    return CompletionsResponse(**head, choices=choices, usage=usage).model_dump()
