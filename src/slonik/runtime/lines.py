"""Text lines from a byte stream of any size, with the bad ones marked instead of passed on.

A bad line is not UTF-8, empty (only spaces), or MAX_LINE_BYTES long and more. No more than one line and one
chunk are in memory at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

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
    """Lines of all `streams` in order."""
    number = 0
    for stream in streams:
        while raw := stream.readline(max_bytes):
            number += 1
            size = len(raw)
            if size >= max_bytes and not raw.endswith(b"\n"):
                size += _skip_rest(stream, max_bytes)
                yield Line(number, "", f"{size:,} bytes long, the limit is {max_bytes:,}", size)
                continue
            yield _line(number, raw)


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


def _line(number: int, raw: bytes) -> Line:
    content = raw.rstrip(b"\r\n")
    if number == 1:
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
    while part := stream.readline(block):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped
