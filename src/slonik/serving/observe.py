"""ASGI middleware that counts and times every request for /metrics."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slonik.serving.metrics import Metrics

_OTHER = "other"  # one label for all paths that are no route, so that clients cannot grow the page


class Observe:
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
