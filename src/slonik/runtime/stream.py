"""Lines of text from byte streams to vectors: any size in constant memory, in order, bad lines by a stated policy.

A bad line is not UTF-8, empty (only spaces), or MAX_LINE_BYTES long and more: how many tokens of a text are read is the
encoder's to say, this limit only keeps memory in bounds. "zero" (default): a row of zeros, so that
row i stays line i. "skip": no row. "stop": an error at the first one. Every bad line is counted, and reported by number
as it is met. No more than one line and one chunk are in memory at any time.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.files import check_apart
from slonik.core.progress import progress_bar
from slonik.core.protocols import Encoder
from slonik.runtime.writers import Writer, open_vectors
from slonik.text.lines import MAX_LINE_BYTES
from slonik.text.tokenizing import TooLong

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


Policy = Literal["zero", "skip", "stop"]
POLICIES: tuple[Policy, ...] = ("zero", "skip", "stop")


@dataclass
class Summary:
    """What happened to a stream: lines read, rows written, texts cut at the model's length, bad lines by kind."""

    lines: int = 0
    rows: int = 0
    cut: int = 0
    bad: Counter[str] = field(default_factory=Counter)

    @property
    def bad_lines(self) -> int:
        return sum(self.bad.values())


def encode_files(
    encoder: Encoder,
    files: Sequence[Path],
    out: Path | None,
    *,
    kind: str | None = None,
    prefix: str | None = None,
    bad_lines: str = "zero",
    on_bad: Callable[[Line], None] | None = None,
) -> Summary:
    """Encode the lines of files into one file of vectors.

    Args:
        files: one text per line, `.gz` too, "-" is standard input; none = standard input.
        out: .npy, .parquet or .jsonl; None = JSON Lines on standard output.
        kind: "npy", "parquet" or "jsonl"; None = by the file's name.
        prefix: None = the model's default, "" = none.
        bad_lines: what becomes of them, one of `POLICIES`.
        on_bad: called with each bad line.

    Raises:
        SlonikError: an unknown policy or format, a file that cannot be read or written, a bad line under "stop".
    """
    if bad_lines not in POLICIES:
        raise SlonikError(f"the policy for bad lines is {bad_lines!r}: use {', '.join(POLICIES)}")
    if out is not None:
        check_apart(out, files)
    sizes = [path.stat().st_size for path in files if path.is_file()]
    packed = any(path.suffix == ".gz" for path in files)  # packed bytes say nothing about the text
    total = None if packed or not files else sum(sizes)
    with open_vectors(out, encoder.dimension, kind) as writer, progress_bar("encoding", total=total) as bar:
        done = 0

        def show(chunk: list[Line]) -> None:
            nonlocal done
            done += len(chunk)
            bar.advance(sum(line.size for line in chunk), texts=f"{done:,}")

        lines = read_lines(_opened(files))
        return encode_stream(encoder, lines, writer, prefix=prefix, bad_lines=bad_lines, on_bad=on_bad, on_chunk=show)


def encode_stream(
    encoder: Encoder,
    lines: Iterable[Line],
    writer: Writer,
    *,
    prefix: str | None = None,
    bad_lines: Policy = "zero",
    on_bad: Callable[[Line], None] | None = None,
    on_chunk: Callable[[list[Line]], None] | None = None,
) -> Summary:
    """Encode every good line and write its vector; the writer is not closed.

    Args:
        prefix: None = the model's default, "" = none.
        on_bad: called with each bad line.
        on_chunk: called after each chunk was written, for a progress bar.

    Raises:
        SlonikError: a bad line under "stop".
    """
    summary = Summary()
    for chunk in in_chunks(lines):
        for line in chunk:
            if line.error is not None:
                _meet(line, summary, bad_lines, on_bad)
        _encode_chunk(encoder, chunk, writer, prefix, skip=bad_lines == "skip", summary=summary)
        if on_chunk is not None:
            on_chunk(chunk)
    return summary


def _opened(files: Sequence[Path]) -> Iterator[BinaryIO]:
    """Each file's bytes, unpacked; the file is closed when the next one is asked for."""
    for path in files or [Path("-")]:
        if str(path) == "-":
            yield sys.stdin.buffer
            continue
        try:
            opener: Any = gzip.open if path.suffix == ".gz" else open
            stream = opener(path, "rb")
        except OSError as error:
            raise SlonikError(f"cannot read {path}: {error.strerror or error}") from None
        with stream:
            yield stream


def _meet(line: Line, summary: Summary, policy: Policy, on_bad: Callable[[Line], None] | None) -> None:
    assert line.error is not None
    if policy == "stop":
        raise SlonikError(f"line {line.number} is {line.error}: mend it, or use --bad-lines zero or skip")
    summary.bad["too long" if "bytes long" in line.error else line.error.split(" (")[0]] += 1
    if on_bad is not None:
        on_bad(line)


def _encode_chunk(
    encoder: Encoder, chunk: list[Line], writer: Writer, prefix: str | None, *, skip: bool, summary: Summary
) -> None:
    kept = [line for line in chunk if line.error is None or not skip]
    good = [place for place, line in enumerate(kept) if line.error is None]
    vectors = np.zeros((len(kept), encoder.dimension), dtype=np.float32)
    if good:
        before = getattr(encoder, "cut_texts", 0)
        try:
            vectors[good] = encoder.encode([kept[place].text for place in good], prefix=prefix)
        except TooLong as error:
            raise TooLong(error.place, error.limit, f"line {kept[good[error.place]].number}") from None
        summary.cut += getattr(encoder, "cut_texts", 0) - before
    writer.write(vectors, [line.number for line in kept], [line.error for line in kept])
    summary.lines += len(chunk)
    summary.rows += len(kept)
