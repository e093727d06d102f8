"""Bodies that clients have compressed: gzip and deflate are read, within the size limit; others are refused by name.

A few bytes may stand for gigabytes, so what comes out is counted as it comes out, never more of it than the limit.
"""

from __future__ import annotations

import zlib

from slonik.serving.errors import ApiError

READABLE = "gzip, deflate"
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS  # zlib looks for either head
_MOST_MEMBERS = 100  # each costs time, though it may stand for nothing
_RAW = -zlib.MAX_WBITS  # deflate without a head, as some clients understand the word


class Decoder:
    """Takes a body's chunks as they arrive and gives what they stand for.

    Args:
        coding: value of the header Content-Encoding; empty and "identity" = nothing was done to the body.
        limit: most bytes of the decoded body.

    Raises:
        ApiError: 415 for a coding that is not read.
    """

    def __init__(self, coding: str, limit: int) -> None:
        name = coding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            message = f"the content encoding is {coding[:60]!r}: send the body as it is, or as gzip or deflate"
            raise ApiError(415, message, code="unsupported_content_encoding", headers={"Accept-Encoding": READABLE})
        self._name = name.removeprefix("x-")
        self._plain = name in ("", "identity")
        self._left = limit
        self._limit = limit
        self._inflater = zlib.decompressobj(_ZLIB_OR_GZIP)
        self._begun = False
        self._members = 1

    def decode(self, chunk: bytes) -> bytes:
        """What the next chunk stands for.

        Raises:
            ApiError: 413 when the body has become larger than the limit, 400 when it is not what the header says.
        """
        made = chunk if self._plain else self._inflate(chunk)
        self._left -= len(made)
        if self._left < 0:
            raise too_large(self._limit)
        return made

    def end(self) -> None:
        """The body is complete.

        Raises:
            ApiError: 400, its compressed form is not.
        """
        if not self._plain and not self._inflater.eof and self._begun:
            raise ApiError(400, f"the body is cut short: its {self._name} data has no end", code="invalid_encoding")

    def _inflate(self, chunk: bytes) -> bytes:
        pieces: list[bytes] = []
        room = self._left + 1
        try:
            while chunk and room > 0:
                if self._inflater.eof:  # gzip may hold several members, one after another
                    self._next_member()
                piece = self._piece(chunk, room)
                pieces.append(piece)
                room -= len(piece)
                chunk = self._inflater.unused_data or self._inflater.unconsumed_tail
        except zlib.error:
            message = f"the body is not {self._name}, as its content encoding says"
            raise ApiError(400, message, code="invalid_encoding") from None
        return b"".join(pieces)

    def _next_member(self) -> None:
        self._members += 1
        if self._members > _MOST_MEMBERS:
            message = f"the body has more than {_MOST_MEMBERS} gzip members: pack it as one"
            raise ApiError(400, message, code="invalid_encoding")
        self._inflater = zlib.decompressobj(_ZLIB_OR_GZIP)

    def _piece(self, chunk: bytes, room: int) -> bytes:
        first, self._begun = not self._begun, True
        try:
            return self._inflater.decompress(chunk, room)
        except zlib.error:
            if not first or self._name != "deflate":
                raise
            self._inflater = zlib.decompressobj(_RAW)
            return self._inflater.decompress(chunk, room)


def too_large(limit: int) -> ApiError:
    """413, for a body of more bytes than `limit`."""
    return ApiError(413, f"the body is larger than {limit} bytes: send fewer texts at a time", code="body_too_large")
