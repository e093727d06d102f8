"""What the OpenAPI page says of a route that reads its own body.

Bodies are read and parsed by requests.py, within limits, so FastAPI is told their schema here; the schema is exact,
with the served models' own limits in it, and the tests hold the server to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from slonik.serving.middleware import OPEN_PATHS
from slonik.serving.schemas import ErrorResponse

_ERRORS = {
    400: "The request is wrong; the message says how.",
    401: "The API key is missing or wrong.",
    404: "No such model, or no such route.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    429: "The queue is full; Retry-After says when to try again.",
    500: "The model failed.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` entry of the given error statuses."""
    return {status: {"model": ErrorResponse, "description": _ERRORS[status]} for status in statuses}


def post(
    request: type[BaseModel], response: Any, limits: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Arguments of `router.post` for a route with these bodies.

    Args:
        limits: field -> JSON schema keywords to add, e.g. {"model": {"enum": [...]}}; a keyword goes to every
            part of the field that it fits.
    """
    schema = _inline(request.model_json_schema())
    for name, keywords in (limits or {}).items():
        for keyword, value in keywords.items():
            _add(schema["properties"][name], keyword, value)
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {
        "response_model": None,
        "responses": {200: {"model": response}, **errors(400, 404, 408, 413, 415, 429, 500)},
        "openapi_extra": {"requestBody": body},
    }


_FITS = {
    "maximum": ("integer",),
    "minimum": ("integer",),
    "maxLength": ("string",),
    "enum": ("integer", "number", "string"),
}


def _add(schema: dict[str, Any], keyword: str, value: Any) -> None:
    """Put a keyword on every part of `schema` that it fits."""
    for part in schema.get("anyOf", ()):
        _add(part, keyword, value)
    if isinstance(schema.get("items"), dict):
        _add(schema["items"], keyword, value)
    if schema.get("type") in _FITS[keyword]:
        schema[keyword] = value


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` with its `$defs` put where they are referred to: a request body stands alone in the page."""
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rsplit("/", 1)[-1]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def require_key(app: FastAPI) -> None:
    """Say on the OpenAPI page of `app` that its routes, but for the open ones, need the API key."""
    page = app.openapi()  # built once and kept by FastAPI
    page.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in page["paths"].items():
        if path in OPEN_PATHS:
            continue
        for operation in methods.values():
            operation["security"] = [{"key": []}]
            operation["responses"].setdefault("401", _unauthorized())


def _unauthorized() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ErrorResponse"}
    return {"description": _ERRORS[401], "content": {"application/json": {"schema": schema}}}
