"""POST /rerank: texts in the order of their relevance to a query, by a model that reads both together.

`documents` are answered as Cohere, Jina and vLLM do, `texts` as text-embeddings-inference does. The scores are sigmoids
of the logits, as at all of these; `raw_scores` asks for the logits, which is also what the order is by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from slonik.core.protocols import FloatArray
from slonik.serving.classification import answer_head, json_response, scores_of, tei_headers
from slonik.serving.errors import ApiError
from slonik.serving.jobs import cut_header
from slonik.serving.openapi import post
from slonik.serving.requests import read_body
from slonik.serving.served import Catalogue, ServedClassifier
from slonik.serving.settings import ServeSettings
from slonik.serving.task_schemas import RerankRequest, RerankResponse, TeiRank
from slonik.text.answers import sigmoid


def reranking_router(models: Catalogue, settings: ServeSettings) -> APIRouter:
    """The route, for the rerankers of `models`."""
    router = APIRouter()

    @router.post("/v2/rerank", include_in_schema=False)
    @router.post("/v1/rerank", include_in_schema=False)
    @router.post("/rerank", **post(RerankRequest, RerankResponse | list[TeiRank], _limits(models)))
    async def rerank(request: Request) -> Response:
        """Texts with their relevance to the query, the most relevant first."""
        wanted = await read_body(request, RerankRequest, settings)
        served = models.classifier(wanted.model, ranks=True)
        _check(wanted, served)
        pairs = [(wanted.query, text) for text in wanted.candidates]
        found, job = await scores_of(request, served, pairs, wanted, "texts" if wanted.tei else "documents")
        logits = np.array([row[0] for row in found], dtype=np.float32)
        order = np.argsort(-logits, kind="stable")[: wanted.top_n].tolist()
        scores = logits if wanted.raw_scores else sigmoid(logits)
        if wanted.tei:
            return json_response(_tei(wanted, order, scores), tei_headers(served, job))
        results = [{"index": index, "relevance_score": scores[index]} | _document(wanted, index) for index in order]
        usage = {"prompt_tokens": job.tokens, "total_tokens": job.tokens}
        return json_response({**answer_head("rerank", served), "results": results, "usage": usage}, cut_header(job))

    return router


def _limits(models: Catalogue) -> dict[str, Any]:
    served = [one for one in models.classifiers.values() if one.ranks]
    limits: dict[str, Any] = {}
    if served:
        limits["model"] = {"enum": list(dict.fromkeys(one.card.id for one in served))}
        limits["max_tokens_per_doc"] = {"minimum": max(one.card.max_tokens or 1 for one in served)}
    return limits


def _check(wanted: RerankRequest, served: ServedClassifier) -> None:
    """Refuse what this reranker cannot do.

    Raises:
        ApiError: 400.
    """
    limit, most = wanted.max_tokens_per_doc, served.card.max_tokens
    if limit is not None and most is not None and limit < most:
        message = (
            f"max_tokens_per_doc is {limit}: {served.card.id} reads query and document together, {most} tokens in all, "
            "and cuts no sooner; leave the field out"
        )
        raise ApiError(400, message, param="max_tokens_per_doc", code="invalid_value")


def _tei(wanted: RerankRequest, order: Sequence[int], scores: FloatArray) -> list[dict[str, Any]]:
    shown = wanted.return_documents or wanted.return_text
    return [
        {"index": index, **({"text": wanted.candidates[index]} if shown else {}), "score": scores[index]}
        for index in order
    ]


def _document(wanted: RerankRequest, index: int) -> dict[str, Any]:
    shown = wanted.shown(index)
    return {} if shown is None else {"document": shown}
