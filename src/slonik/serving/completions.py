"""POST /v1/completions and POST /gpt3/predict: continuations, whole or as server-sent events."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from slonik.serving.body import read_body
from slonik.serving.continuations import Continuation, Writing, collect, events, first_event, submit, total_usage
from slonik.serving.decode_queue import Wish
from slonik.serving.hangup import unless_gone
from slonik.serving.openapi import post
from slonik.serving.schemas import Choice, CompletionsRequest, CompletionsResponse, PredictRequest, PredictResponse
from slonik.serving.served import Catalogue
from slonik.serving.settings import ServeSettings

_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
_PREDICT_TOKENS = 60  # a short paragraph, as the public API wrote
_PREDICT_TOP_P = 0.95


def completions_router(models: Catalogue, settings: ServeSettings) -> APIRouter:
    """Both routes, for the decoders of `models`."""
    router = APIRouter()
    names = list(dict.fromkeys(served.card.id for served in models.decoders.values()))
    completions_page = post(CompletionsRequest, CompletionsResponse, {"model": {"enum": names}} if names else {})
    completions_page["responses"][200]["content"] = {"text/event-stream": {"schema": _EVENT}}

    @router.post("/v1/completions", **completions_page)
    async def completions(request: Request) -> Response:
        """Continue one or more texts; with `stream`, send pieces as server-sent events as they are written."""
        wanted = await read_body(request, CompletionsRequest, settings)
        served = models.decoder(wanted.model)
        writing = submit(served.queue, _wishes(wanted))
        head = {"id": f"cmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": served.card.id}
        if wanted.stream:
            first = await unless_gone(request, asyncio.ensure_future(first_event(writing)), writing.cancel)
            usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
            return StreamingResponse(
                events(writing, first, head, echo=wanted.echo, usage=usage), media_type="text/event-stream"
            )
        return JSONResponse(_answer(await _whole(request, writing), head, wanted.echo))

    @router.post("/gpt3/predict", **post(PredictRequest, PredictResponse))
    async def predict(request: Request) -> Response:
        """Continue a text, as the public ruGPT-3 API did: the answer is the text and its continuation."""
        wanted = await read_body(request, PredictRequest, settings)
        wish = Wish(wanted.text, _PREDICT_TOKENS, top_p=_PREDICT_TOP_P)
        [made] = await _whole(request, submit(models.decoder().queue, [wish]))
        return JSONResponse({"predictions": wanted.text + made.text})

    return router


def _wishes(wanted: CompletionsRequest) -> list[Wish]:
    prompts = [wanted.prompt] if isinstance(wanted.prompt, str) else wanted.prompt
    stops = [wanted.stop] if isinstance(wanted.stop, str) else wanted.stop or []
    return [Wish(prompt, wanted.max_tokens, wanted.temperature, wanted.top_p, tuple(stops)) for prompt in prompts]


async def _whole(request: Request, writing: Writing) -> list[Continuation]:
    """All continuations, unless the client hangs up first."""
    return await unless_gone(request, asyncio.ensure_future(collect(writing)), writing.cancel)


def _answer(made: list[Continuation], head: dict[str, Any], echo: bool) -> dict[str, Any]:
    choices = [
        Choice(index=index, text=(one.prompt if echo else "") + one.text, finish_reason=one.finish.reason)
        for index, one in enumerate(made)
    ]
    usage = total_usage([one.finish for one in made])
    return CompletionsResponse(**head, choices=choices, usage=usage).model_dump()
