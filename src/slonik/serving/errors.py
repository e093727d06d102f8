"""Errors as the OpenAI API words them: a status and `{"error": {message, type, param, code}}`.

The message is one sentence that says what is wrong with this request and what to do. Nothing of the server
(paths, tracebacks) leaves it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError
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


def mistake(reason: str, *places: int) -> PydanticCustomError:
    """What a validator raises: `reason`, which goes on after the name of the field, e.g. "is a number: send texts".

    Args:
        places: where in the field's value the mistake is: 3 for `input[3]`.
    """
    return PydanticCustomError(_MISTAKE, "{reason}", {"reason": reason, "places": list(places)})


_MISTAKE = "mistake"


def from_validation(error: ValidationError, schema: type[BaseModel]) -> ApiError:
    """400 with one sentence for the first mistake that pydantic found in a body of `schema`."""
    found = error.errors(include_url=False)
    found = [one for one in found if one["type"] == "extra_forbidden"] or found  # a misspelt field is a missing one too
    same = [one for one in found if one["loc"][:1] == found[0]["loc"][:1]]
    first = max(same, key=_reach)  # of a field that may be several things, the branch that got furthest
    if not first["loc"] and first["type"] != _MISTAKE:
        return ApiError(400, "the body must be a JSON object with the fields of this request", code="invalid_type")
    path = _path(first["loc"], schema, named=first["type"] in ("missing", "extra_forbidden"))
    if first["type"] == "missing":
        return ApiError(400, f"the field {path!r} is missing", param=path, code="missing_field")
    if first["type"] == "extra_forbidden":
        known = _fields_around(first["loc"], schema)
        hint = did_you_mean(path, known) or f" (known: {', '.join(known)})"
        return ApiError(400, f"unknown field {path!r}{hint}", param=path, code="unknown_field")
    context = first.get("ctx", {})
    if first["type"] == _MISTAKE:
        path += "".join(f"[{place}]" for place in context["places"])
        return ApiError(400, f"{path} {context['reason']}".strip(), param=path or None, code="invalid_value")
    if first["type"] == "value_error":
        return ApiError(400, f"{path}: {first['msg'].removeprefix('Value error, ')}", param=path, code="invalid_value")
    kinds = [_KINDS[one["type"]] for one in same if one["type"] in _KINDS and _reach(one) == _reach(first)]
    reason = f"send {' or '.join(dict.fromkeys(kinds))}" if kinds else _in_our_words(first["msg"])
    return ApiError(400, f"the field {path!r} is {short(first['input'])}: {reason}", param=path, code="invalid_value")


_KINDS = {
    "string_type": "a string", "list_type": "a list", "bool_type": "true or false", "int_type": "an integer",
    "float_type": "a number", "model_type": "an object", "model_attributes_type": "an object", "dict_type": "an object",
}  # fmt: skip


def _reach(error: Mapping[str, Any]) -> tuple[int, bool]:
    """How far validation got before this mistake: into how many lists, and whether the value is of the right kind."""
    return sum(isinstance(part, int) for part in error["loc"]), error["type"] not in _KINDS


def _in_our_words(message: str) -> str:
    """What pydantic says of a value ("Input should be ..."), which clients call otherwise."""
    return re.sub("^(Input|String|List) should", "it should", message).replace(" after validation", "")


def _path(loc: Sequence[str | int], schema: type[BaseModel], *, named: bool = False) -> str:
    """The place of a mistake as the client wrote it: `input[3]`, `stream_options.include_usage`.

    Pydantic's own path has the branch of a union in it ("input.str"), which no client has ever heard of.

    Args:
        named: the last part is a field that is unknown or missing, so no model has it.
    """
    path, models = "", [schema]
    for number, part in enumerate(loc):
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        part = part if len(part) <= _LONGEST_VALUE else part[:_LONGEST_VALUE] + "..."
        owner = next((model for model in models if part in model.model_fields), None)
        if owner is None and not (named and number == len(loc) - 1):
            continue
        path += f".{part}" if path else part
        models = list(_models_in(owner.model_fields[part].annotation)) if owner else []
    return path


def _fields_around(loc: Sequence[str | int], schema: type[BaseModel]) -> list[str]:
    """Fields of the object that an unknown field stands in."""
    models = [schema]
    for part in loc[:-1]:
        owner = next((model for model in models if part in model.model_fields), None)
        if owner is not None:
            models = list(_models_in(owner.model_fields[str(part)].annotation))
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def short(value: Any) -> str:
    """A wrong value, as far as a message repeats it."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if value is None or isinstance(value, bool):
        return json.dumps(value)  # the client sent JSON, not Python
    text = repr(value[: _LONGEST_VALUE + 1] if isinstance(value, str) else value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."
