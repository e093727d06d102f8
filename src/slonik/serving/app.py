"""The application: routes, errors in the OpenAI shape, metrics, the key check, and the queues' life.

Each route lives in a file of its own; this one only puts them together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from slonik.core.version import __version__
from slonik.serving.classification import classification_router
from slonik.serving.completions import completions_router
from slonik.serving.embeddings import embeddings_router
from slonik.serving.errors import ApiError, did_you_mean
from slonik.serving.metrics import Metrics
from slonik.serving.middleware import CountRequests, KeyCheck, PlainPaths
from slonik.serving.openapi import require_key
from slonik.serving.reranking import reranking_router
from slonik.serving.served import Catalogue, ServedModel, catalogue
from slonik.serving.settings import ServeSettings
from slonik.serving.status import docs_router, status_router
from slonik.serving.tagging import tagging_router

_DESCRIPTION = """Sentence vectors, labels, relevance, entities and continuations from the models served here.
The routes under /v1 are those of the OpenAI API, so its clients work with `base_url` set to this server."""


def create_app(models: Sequence[ServedModel], settings: ServeSettings | None = None) -> FastAPI:
    """An ASGI application that serves `models`; their worker threads run between its startup and shutdown.

    Raises:
        SlonikError: no model, or two of one name.
    """
    settings = settings or ServeSettings()
    metrics = Metrics()
    served = catalogue(models, settings, metrics)
    app = FastAPI(
        title="slonik", version=__version__, description=_DESCRIPTION, lifespan=_lifespan(served), docs_url=None,
        redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    routers = (
        embeddings_router(served, settings),
        completions_router(served, settings),
        classification_router(served, settings),
        reranking_router(served, settings),
        tagging_router(served, settings),
        status_router(served, metrics),
        docs_router(),
    )
    for router in routers:
        app.include_router(router)
    paths = frozenset(app.openapi()["paths"])
    _answer_errors(app, paths)
    if settings.api_key is not None:
        require_key(app)
        app.add_middleware(KeyCheck, key=settings.api_key)
    routes = frozenset(route.path for router in routers for route in router.routes if isinstance(route, APIRoute))
    app.add_middleware(CountRequests, metrics=metrics, routes=routes)  # it counts refusals too
    app.add_middleware(PlainPaths)  # the outermost: the others ask for the path
    return app


def _lifespan(models: Catalogue) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        queues = models.queues()
        for queue in queues:
            queue.start()
        yield
        await asyncio.gather(*(asyncio.to_thread(queue.stop) for queue in queues))

    return lifespan


def _answer_errors(app: FastAPI, paths: frozenset[str]) -> None:
    """Every answer that is not 2xx has the OpenAI shape."""

    async def api_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error.response()

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        where = f"{request.method} {request.url.path[:100]}"
        if error.status_code == 404:
            message = f"there is no {where}{did_you_mean(request.url.path, paths)}"
        elif error.status_code == 405:
            message = f"there is no {where}: use {(error.headers or {}).get('Allow', 'another method')}"
        else:
            message = str(error.detail)
        return ApiError(error.status_code, message, headers=dict(error.headers or {})).response()

    async def unforeseen(_: Request, __: Exception) -> Response:
        return ApiError(500, "the server failed on this request; its log has the details").response()

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, unforeseen)
