"""GET /v1/models, /health and /metrics, and GET /docs: the API, to read and to try.

The page is a small form made from /openapi.json; it loads nothing from anywhere else, and its policy forbids it to.
"""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from slonik.serving.metrics import CONTENT_TYPE, Metrics
from slonik.serving.openapi import errors
from slonik.serving.schemas import Health, ModelCard, ModelsResponse
from slonik.serving.served import Catalogue


def status_router(models: Catalogue, metrics: Metrics) -> APIRouter:
    """The routes that say what is served and how it fares."""
    router = APIRouter()

    @router.get("/models", include_in_schema=False)  # as infinity's clients call it
    @router.get("/v1/models")
    async def list_models() -> ModelsResponse:
        """All served models."""
        return ModelsResponse(data=models.cards)

    @router.get("/v1/models/{model:path}", responses=errors(404))
    async def show_model(model: str) -> ModelCard:
        """One served model."""
        return models.card(model)

    @router.get("/health")
    async def health() -> Health:
        """Answers as long as the server runs; it starts to listen when its models are loaded."""
        return Health()

    @router.get("/metrics", response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        """Counters and histograms in Prometheus' text format."""
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    return router


_OWN_ONLY = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def docs_router() -> APIRouter:
    """The page, which is no part of the API itself."""
    router = APIRouter()
    page = (resources.files("slonik.serving") / "docs_page.html").read_text(encoding="utf-8")

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """The page."""
        return HTMLResponse(page, headers={"Content-Security-Policy": _OWN_ONLY})

    return router
