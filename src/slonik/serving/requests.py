"""Reads a request's body within limits, parses it straight into its schema, and notices a client that disconnects.

The size limit holds while the body arrives: a declared length over it is refused before a byte is read, an
undeclared one, and a compressed body, when the limit is passed, so memory stays constant whatever a client sends.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from slonik.serving.content_coding import Decoder, too_large
from slonik.serving.errors import ApiError, from_validation
from slonik.serving.settings import ServeSettings

S = TypeVar("S", bound=BaseModel)

_UTF_8 = ("utf-8", "utf8", "us-ascii", "ascii")
CLIENT_DISCONNECTED = 499  # nginx's status for a client that disconnected; nobody reads it, the metrics count it


async def read_body(request: Request, schema: type[S], settings: ServeSettings) -> S:
    """The body of `request` as `schema`.

    Raises:
        ApiError: 400 broken JSON or a wrong field, 408 too slow, 413 too large, 415 not JSON, or compressed in a way
            that is not read.
    """
    _check_headers(request, settings.max_body_bytes)
    decoder = Decoder(request.headers.get("content-encoding", ""), settings.max_body_bytes)
    try:
        async with asyncio.timeout(settings.body_seconds):
            content = await _read(request, settings.max_body_bytes, decoder)
    except TimeoutError:
        message = f"the body did not arrive within {settings.body_seconds:g} s: send it faster"
        raise ApiError(408, message, code="timeout", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise ApiError(CLIENT_DISCONNECTED, "the client disconnected", code="client_disconnected") from None
    return parse(content, schema)


def parse(content: bytes, schema: type[S]) -> S:
    """JSON as `schema`.

    Raises:
        ApiError: 400 broken JSON or a wrong field.
    """
    try:
        # orjson, since pydantic's own reader takes four times the memory on a body of many small lists
        return schema.model_validate(orjson.loads(content))
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is not valid JSON: {error}", code="invalid_json") from None
    except ValidationError as error:
        raise from_validation(error, schema) from None


def _check_headers(request: Request, limit: int) -> None:
    kind = request.headers.get("content-type", "")
    name, _, parameters = kind.partition(";")
    if name.strip().lower() != "application/json":
        message = f"the content type is {kind[:60]!r}: send JSON with the header Content-Type: application/json"
        raise ApiError(415, message, code="unsupported_media_type")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    if charset and charset[1].lower() not in _UTF_8:
        raise ApiError(415, f"the charset is {charset[1][:60]!r}: JSON is sent as UTF-8", code="unsupported_media_type")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)


async def _read(request: Request, limit: int, decoder: Decoder) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        if chunk:
            chunks.append(decoder.decode(chunk))
    decoder.end()
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


T = TypeVar("T")


async def unless_disconnected(request: Request, answer: asyncio.Future[T], cancel: Callable[[], None]) -> T:
    """The result of `answer`, once the body of `request` has been read; without one, `answer` is cancelled.

    Args:
        cancel: called when nobody waits any more although the answer is not there.

    Raises:
        ApiError: 499 when the client disconnected first, or what `answer` was failed with.
    """
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ApiError(CLIENT_DISCONNECTED, "the client disconnected", code="client_disconnected")
        return answer.result()
    finally:
        gone.cancel()
        if not answer.done():
            cancel()
            answer.cancel()  # a task would wait for ever: what has been cancelled gives no answer


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
