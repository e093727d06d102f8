"""Text lines from a byte stream of any size, with the bad ones marked instead of passed on.

A bad line is not UTF-8, empty (only spaces), or MAX_LINE_BYTES long and more. No more than one line and one
chunk are in memory at any time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from slonik.core.errors import SlonikError

MAX_LINE_BYTES = 1_000_000
CHUNK_LINES = 1024
CHUNK_BYTES = 256 * 1024  # a batch of long texts stays small; short texts fill the lines first


@dataclass(frozen=True)
class Line:
    """One line of the input.

    Attributes:
        number: from 1, over all inputs together.
        text: its text without the line end; "" for a bad line.
        error: why it is bad, or None.
        size: bytes read, the line end included.
    """

    number: int
    text: str
    error: str | None
    size: int


def read_lines(streams: Iterable[BinaryIO], *, max_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """Lines of all `streams` in order.

    Raises:
        SlonikError: a stream that cannot be read to its end, such as a damaged .gz file; its name is said.
    """
    number = 0
    for stream in streams:
        first = True
        while raw := _read(stream, max_bytes):
            number += 1
            size = len(raw)
            if size >= max_bytes and not raw.endswith(b"\n"):
                size += _skip_rest(stream, max_bytes)
                yield Line(number, "", f"{size:,} bytes long, the limit is {max_bytes:,}", size)
            else:
                yield _line(number, raw, first)
            first = False


def in_chunks(
    lines: Iterable[Line], *, most_lines: int = CHUNK_LINES, most_bytes: int = CHUNK_BYTES
) -> Iterator[list[Line]]:
    """Group lines, at most `most_lines` and about `most_bytes` together."""
    chunk: list[Line] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += line.size if line.error is None else 0
        if len(chunk) >= most_lines or size >= most_bytes:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _read(stream: BinaryIO, most: int) -> bytes:
    try:
        return stream.readline(most)
    except (OSError, EOFError, zlib.error) as error:
        name = getattr(stream, "name", "the input")
        raise SlonikError(f"cannot read {name} to its end ({error}): is the file whole?") from None


def _line(number: int, raw: bytes, first: bool) -> Line:
    content = raw.rstrip(b"\r\n")
    if first:
        content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        return Line(number, "", f"not UTF-8 (byte {error.start + 1})", len(raw))
    if not text.strip():
        return Line(number, "", "empty", len(raw))
    return Line(number, text, None, len(raw))


def _skip_rest(stream: BinaryIO, block: int) -> int:
    """Read to the end of the line without keeping it; returns how many bytes there were."""
    skipped = 0
    while part := _read(stream, block):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped
