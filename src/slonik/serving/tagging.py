"""POST /tag: texts to entities with offsets and confidence."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from slonik.serving.openapi import post
from slonik.serving.requests import read_body, unless_disconnected
from slonik.serving.served import Catalogue
from slonik.serving.settings import ServeSettings
from slonik.serving.task_schemas import TagRequest, TagResponse


def tagging_router(models: Catalogue, settings: ServeSettings) -> APIRouter:
    """The route, for the taggers of `models`."""
    router = APIRouter()
    names = list(dict.fromkeys(served.card.id for served in models.taggers.values()))

    @router.post("/v1/tag", include_in_schema=False)
    @router.post("/tag", **post(TagRequest, TagResponse, {"model": {"enum": names}} if names else None))
    async def tag(request: Request) -> Response:
        """Entities of one or more texts, in the order of the input; offsets count Unicode code points."""
        wanted = await read_body(request, TagRequest, settings)
        served = models.tagger(wanted.model)
        texts = wanted.input
        job = served.queue.submit(texts)
        found = await unless_disconnected(request, job.done, lambda: served.queue.cancel(job))
        data = [
            {"index": index, "spans": [_span(span, text) for span in spans]}
            for index, (text, spans) in enumerate(zip(texts, found, strict=True))
        ]
        return Response(
            orjson.dumps({"object": "list", "data": data, "model": served.card.id}), media_type="application/json"
        )

    return router


def _span(span: Any, text: str) -> dict[str, Any]:
    return {
        "start": span.start,
        "end": span.end,
        "label": span.label,
        "text": text[span.start : span.end],
        "confidence": None if span.confidence is None else round(float(span.confidence), 4),
    }
