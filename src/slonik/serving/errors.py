"""Errors as the OpenAI API words them: a status and `{"error": {message, type, param, code}}`.

The message is one sentence that says what is wrong with this request and what to do. Nothing of the server
(paths, tracebacks) leaves it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

_LONGEST_VALUE = 60  # characters of a wrong value that a message repeats


class ApiError(Exception):
    """A request that cannot be answered.

    Args:
        status: HTTP status, 4xx for the client's mistake.
        message: one sentence.
        param: the field at fault, when there is one.
        code: a stable word for programs, e.g. "queue_full".
        headers: further response headers, e.g. Retry-After.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers

    def body(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        detail = {"message": self.message, "type": _kind(self.status), "param": self.param, "code": self.code}
        return {"error": detail}

    def response(self) -> Response:
        """The whole answer."""
        content = orjson.dumps(self.body())
        return Response(content, status_code=self.status, media_type="application/json", headers=self.headers)


def _kind(status: int) -> str:
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    return kinds.get(status, "invalid_request_error" if status < 500 else "server_error")


def queue_full(what: str, waiting: int, limit: int, seconds: int) -> ApiError:
    """429: the queue has no room for this request.

    Args:
        what: what waits there, "texts" or "prompts".
        waiting: how many wait now.
        limit: the most that may wait.
        seconds: when to try again.
    """
    return ApiError(
        429,
        f"the server is busy: {waiting} {what} are waiting and at most {limit} may; try again in {seconds} s",
        code="queue_full",
        headers={"Retry-After": str(seconds)},
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" when a known name is close, else an empty string."""
    close = difflib.get_close_matches(name[:200], list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def from_validation(error: ValidationError, schema: type[BaseModel]) -> ApiError:
    """400 with one sentence for the first mistake that pydantic found in a body of `schema`."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if not field:
        return ApiError(400, "the body must be a JSON object with the fields of this request", code="invalid_type")
    if first["type"] == "missing":
        return ApiError(400, f"the field {field!r} is missing", param=field, code="missing_field")
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(field, schema.model_fields) or f" (known: {', '.join(schema.model_fields)})"
        return ApiError(400, f"unknown field {field!r}{hint}", param=field, code="unknown_field")
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return ApiError(400, f"{field}: {reason}", param=field, code="invalid_value")
    message = f"the field {field!r} is {_short(first['input'])}: {reason[:1].lower()}{reason[1:]}"
    return ApiError(400, message, param=field, code="invalid_value")


def _short(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if value is None or isinstance(value, bool):
        return json.dumps(value)  # the client sent JSON, not Python
    text = repr(value[: _LONGEST_VALUE + 1] if isinstance(value, str) else value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."
