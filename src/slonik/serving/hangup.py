"""Notices that a client hung up while its answer is being made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from slonik.serving.body import CLIENT_GONE
from slonik.serving.errors import ApiError

T = TypeVar("T")


async def unless_gone(request: Request, answer: asyncio.Future[T], cancel: Callable[[], None]) -> T:
    """The result of `answer`, once the body of `request` has been read.

    Args:
        cancel: called when nobody waits any more although the answer is not there.

    Raises:
        ApiError: 499 when the client hung up first, or what `answer` was failed with.
    """
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ApiError(CLIENT_GONE, "the client hung up", code="client_gone")
        return answer.result()
    finally:
        gone.cancel()
        if not answer.done():
            cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
