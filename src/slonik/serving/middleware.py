"""ASGI middleware: plain paths and HEAD, the check of the API key before a body is read, and the count for /metrics."""

from __future__ import annotations

import hashlib
import hmac
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slonik.serving.errors import ApiError
from slonik.serving.metrics import Metrics

# What needs no key: the health check of an orchestrator, and the pages that explain the API.
OPEN_PATHS = frozenset({"/health", "/docs", "/openapi.json"})


class PlainPaths:
    """Clients join addresses carelessly: `//v1/embeddings/` is `/v1/embeddings`. HEAD is GET without the body.

    A redirect would do too, but not every client follows one with its body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its plain path."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = re.sub("/{2,}", "/", scope["path"]).rstrip("/") or "/"
        if scope["method"] != "HEAD":
            await self._app({**scope, "path": path}, receive, send)
            return

        async def headers_only(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "path": path, "method": "GET"}, receive, headers_only)


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


_OTHER = "other"  # one label for all paths that are no route, so that clients cannot grow the page


class CountRequests:
    """Counts requests by route and status, with the time to the end of the answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, watching the status of its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 500  # of an answer that was never sent

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._metrics.running.track_inprogress():
            try:
                await self._app(scope, receive, watched)
            finally:
                route = scope["path"] if scope["path"] in self._routes else _OTHER
                self._metrics.answered(route, status, time.perf_counter() - start)
