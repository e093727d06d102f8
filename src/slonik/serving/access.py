"""The API key check, before anything of a request is read."""

from __future__ import annotations

import hashlib
import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from slonik.serving.errors import ApiError

# What needs no key: the health check of an orchestrator, and the pages that explain the API.
OPEN_PATHS = frozenset({"/health", "/docs", "/openapi.json"})


class KeyCheck:
    """ASGI middleware: 401 unless the request carries `Authorization: Bearer KEY`.

    The comparison takes the same time whatever is sent: digests of equal length are compared.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._digest = _digest(key.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._allowed(scope):
            await self._app(scope, receive, send)
            return
        message = "the API key is missing or wrong: send it as the header Authorization: Bearer KEY"
        error = ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        await error.response()(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, given = (values[0] if len(values) == 1 else b"").partition(b" ")
        return hmac.compare_digest(_digest(given.strip()), self._digest) and scheme.lower() == b"bearer"


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
