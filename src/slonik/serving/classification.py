"""POST /classify, as at infinity, and POST /predict, as at text-embeddings-inference: texts to scores of labels.

The scores are those that `predict` gives: softmax of one label of several, sigmoid of any number of labels, a number in
its own units; `raw_scores` asks for the logits.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from slonik.core.protocols import Classifier, FloatArray
from slonik.serving.jobs import Job, cut_header
from slonik.serving.openapi import post
from slonik.serving.requests import read_body, unless_disconnected
from slonik.serving.served import Catalogue, ServedClassifier
from slonik.serving.settings import ServeSettings
from slonik.serving.task_schemas import ClassifyRequest, ClassifyResponse, LabelScore, Scored, TeiPredictRequest
from slonik.text.answers import number_of, probabilities, temperature_of
from slonik.text.task_config import TaskConfig

_NUMBER = "score"  # what stands for the label of a model that gives a number


def classification_router(models: Catalogue, settings: ServeSettings) -> APIRouter:
    """Both routes, for the classifiers of `models`."""
    router = APIRouter()
    names = list(dict.fromkeys(served.card.id for served in models.classifiers.values()))
    limits = {"model": {"enum": names}} if names else {}

    @router.post("/v1/classify", include_in_schema=False)
    @router.post("/classify", **post(ClassifyRequest, ClassifyResponse, limits))
    async def classify(request: Request) -> Response:
        """Scores of all labels of each text, the best first."""
        wanted = await read_body(request, ClassifyRequest, settings)
        served = models.classifier(wanted.model)
        scores, job = await scores_of(request, served, wanted.input, wanted, "input")
        data = [_ordered(served.model, row, wanted.raw_scores) for row in scores]
        usage = {"prompt_tokens": job.tokens, "total_tokens": job.tokens}
        head = answer_head("classify", served)
        return json_response({**head, "data": data, "model": served.card.id, "usage": usage}, cut_header(job))

    @router.post("/predict", **post(TeiPredictRequest, list[LabelScore] | list[list[LabelScore]], limits))
    async def predict(request: Request) -> Response:
        """Scores of all labels, the best first: one list for a text or pair, a list of lists for a batch."""
        wanted = await read_body(request, TeiPredictRequest, settings)
        served = models.classifier(wanted.model)
        scores, job = await scores_of(request, served, wanted.inputs.rows, wanted, "inputs")
        data = [_ordered(served.model, row, wanted.raw_scores) for row in scores]
        return json_response(data if wanted.inputs.batch else data[0], tei_headers(served, job))

    return router


async def scores_of(
    request: Request, served: ServedClassifier, rows: Sequence[Any], wanted: Scored, field: str
) -> tuple[list[FloatArray], Job]:
    """Logits (L,) of each row, and what was counted of all.

    Raises:
        ApiError: the queue is full, a row is refused, the model failed, or the client disconnected.
    """
    job = served.queue.submit(rows, long_texts=wanted.policy, field=field)
    found = await unless_disconnected(request, job.done, lambda: served.queue.cancel(job))
    return found, job


def _ordered(model: Classifier, logits: FloatArray, raw: bool) -> list[dict[str, Any]]:
    labels = model.labels or (_NUMBER,)
    scores = logits if raw else _scores(model, logits)
    order = np.argsort(-scores, kind="stable")
    return [{"score": scores[place], "label": labels[place]} for place in order]


def _scores(model: Classifier, logits: FloatArray) -> FloatArray:
    config = getattr(model, "config", None)
    if model.target != "number":
        heat = temperature_of(config) if isinstance(config, TaskConfig) else 1.0
        return probabilities(logits, model.target, heat)  # type: ignore[arg-type]  # one of the three
    if not isinstance(config, TaskConfig):
        return logits
    return np.array([number_of(config, logits)], dtype=np.float32)


def answer_head(kind: str, served: ServedClassifier) -> dict[str, Any]:
    """What answers begin with."""
    return {"object": kind, "id": f"{kind}-{uuid.uuid4().hex}", "created": int(time.time()), "model": served.card.id}


def tei_headers(served: ServedClassifier, job: Job) -> dict[str, str]:
    """What a bare list cannot say of itself, in headers: tokens as text-embeddings-inference counts them, the model."""
    name = served.card.id.encode("ascii", "replace").decode("ascii")
    return {"x-compute-tokens": str(job.tokens), "x-model": name, **cut_header(job)}


def json_response(content: Any, headers: dict[str, str] | None = None) -> Response:
    """`content` as JSON; float32 numbers get the fewest digits that give the same float32 back."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json", headers=headers)
