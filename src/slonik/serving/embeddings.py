"""POST /v1/embeddings: texts or token ids to vectors, as the OpenAI API has it."""

from __future__ import annotations

import base64
import logging
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from slonik.core.protocols import FloatArray
from slonik.serving.errors import ApiError, did_you_mean
from slonik.serving.jobs import cut_header
from slonik.serving.openapi import post
from slonik.serving.requests import read_body, unless_disconnected
from slonik.serving.schemas import EmbeddingsRequest, EmbeddingsResponse
from slonik.serving.served import Catalogue, ServedEncoder
from slonik.serving.settings import ServeSettings
from slonik.text.matryoshka import leading

_log = logging.getLogger("slonik.serving")
_TOKEN_IDS = (
    "a client sends token ids: they are read as those of the tokenizer of %s; LangChain sends OpenAI's, which mean "
    "nothing here, unless told check_embedding_ctx_length=False"
)


def embeddings_router(models: Catalogue, settings: ServeSettings) -> APIRouter:
    """The route, for the encoders of `models`."""
    router = APIRouter()
    spoken: set[str] = set()  # models for which token ids have come

    @router.post("/embeddings", include_in_schema=False)  # as infinity's clients call it
    @router.post("/v1/embeddings", **post(EmbeddingsRequest, EmbeddingsResponse, _limits(models)))
    async def embeddings(request: Request) -> Response:
        """Vectors of one or more texts, in the order of the input."""
        wanted = await read_body(request, EmbeddingsRequest, settings)
        served = models.encoder(wanted.model)
        _check(wanted, served)
        if not isinstance(wanted.input[0], str) and served.card.id not in spoken:
            spoken.add(served.card.id)
            _log.warning(_TOKEN_IDS, served.card.id)
        job = served.queue.submit(wanted.input, _prefix(wanted, served), wanted.policy)
        rows = await unless_disconnected(request, job.done, lambda: served.queue.cancel(job))
        whole: FloatArray = np.stack(rows)
        vectors = leading(whole, wanted.dimensions or None, normalize=served.engine.normalize)
        return Response(
            _render(vectors, wanted.encoding_format, served.card.id, job.tokens), media_type="application/json",
            headers=cut_header(job),
        )  # fmt: skip

    return router


def _limits(models: Catalogue) -> dict[str, Any]:
    """What the OpenAPI page says of this server's own limits: the more a client knows, the less it gets refused."""
    served = list(models.encoders.values())
    types = {name for one in served for name in one.card.input_types}
    vocabularies = [one.engine.vocabulary for one in served if one.engine.vocabulary]
    limits: dict[str, Any] = {}
    if types:
        limits["input_type"] = {"enum": sorted(types)}
    if served:
        limits["prefix"] = {"maxLength": max(one.engine.longest_prefix for one in served)}
        limits["model"] = {"enum": list(dict.fromkeys(one.card.id for one in served))}
        if all(one.engine.shorter is not None for one in served):
            shorter = {size for one in served for size in one.engine.shorter or ()}
            limits["dimensions"] = {"enum": sorted({0, *shorter, *(one.engine.dimension for one in served)})}
    if vocabularies:
        limits["input"] = {"maximum": max(vocabularies) - 1}
    return limits


def _check(wanted: EmbeddingsRequest, served: ServedEncoder) -> None:
    """Refuse what this encoder cannot do.

    Raises:
        ApiError: 400.
    """
    own, shorter = served.engine.dimension, served.engine.shorter
    if wanted.dimensions not in (0, own, *(shorter or ())) and (shorter is not None or wanted.dimensions > own):
        known = " or ".join(str(size) for size in (*(shorter or ()), own))
        reason = (
            "does not say that its dimensions are ordered" if not shorter else "was measured at these lengths alone"
        )
        message = f"{served.card.id} {reason}: leave `dimensions` out or ask for {known}, not {wanted.dimensions}"
        raise ApiError(400, message, param="dimensions", code="unsupported_dimensions")
    if not isinstance(wanted.input[0], str):
        _check_ids(wanted.input, served)


def _check_ids(texts: list[list[int]], served: ServedEncoder) -> None:
    vocabulary = served.engine.vocabulary
    if vocabulary is None:
        raise ApiError(400, f"{served.card.id} has no tokenizer: send strings", param="input", code="invalid_value")
    place = next((index for index, text in enumerate(texts) if max(text) >= vocabulary), None)
    if place is not None:
        name = "input" if len(texts) == 1 else f"input[{place}]"
        message = (
            f"{name} has the token id {max(texts[place])}, which is not in the vocabulary of {served.card.id} (0 to "
            f"{vocabulary - 1}): send strings, or ids of its own tokenizer (LangChain sends ids of "
            "OpenAI's unless told check_embedding_ctx_length=False)"
        )
        raise ApiError(400, message, param=name, code="invalid_token")


def _prefix(wanted: EmbeddingsRequest, served: ServedEncoder) -> str:
    """The prefix text: given, named, or the model's default."""
    sentence = served.engine.sentence
    names = sentence.prefixes if sentence else {}
    if wanted.input_type is not None and wanted.input_type not in names:
        known = f"known: {', '.join(sorted(names))}" if names else f"{served.card.id} has no named prefixes"
        hint = did_you_mean(wanted.input_type, names)
        message = f"unknown input_type {wanted.input_type[:60]!r}{hint} ({known})"
        raise ApiError(400, message, param="input_type", code="invalid_value")
    if wanted.prefix is not None:
        most = served.engine.longest_prefix
        if len(wanted.prefix) > most:
            message = f"prefix has {len(wanted.prefix)} characters: {served.card.id} takes at most {most}"
            raise ApiError(400, message, param="prefix", code="invalid_value")
        return wanted.prefix
    if wanted.input_type is not None:
        return names[wanted.input_type]
    return sentence.prefix(None) if sentence else ""


def _render(vectors: FloatArray, encoding: str, model: str, tokens: int) -> bytes:
    """The answer as JSON; float32 numbers get the fewest digits that give the same float32 back."""
    values: list[Any]
    if encoding == "base64":
        values = [base64.b64encode(row).decode("ascii") for row in np.ascontiguousarray(vectors, dtype="<f4")]
    else:
        values = list(vectors)
    answer = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": value} for index, value in enumerate(values)],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
