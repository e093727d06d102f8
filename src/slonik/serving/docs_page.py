"""GET /docs: the API, to read and to try.

The page is a small form made from /openapi.json, which works in a closed network; where the browser can reach
Swagger UI at its public address, that takes the form's place.
"""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from starlette.responses import HTMLResponse


def docs_router() -> APIRouter:
    """The page, which is no part of the API itself."""
    router = APIRouter()
    page = (resources.files("slonik.serving") / "docs_page.html").read_text(encoding="utf-8")

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """The page."""
        return HTMLResponse(page)

    return router
