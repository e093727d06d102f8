"""Texts of any number through a tagger, in order and in constant memory: lines, JSONL and BRAT folders in.

A line that cannot be read (not UTF-8, too long, no JSON text) keeps its place as an empty document, is reported by
number, and is counted: one bad line must not end a night's run. Writing is the formats' business.
"""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from slonik.core.errors import SlonikError
from slonik.data.annotations.brat import read_brat
from slonik.data.annotations.document import Counts, Document, Tagger

KINDS = ("text", "jsonl", "brat")
MAX_LINE_BYTES = 16 * 1024 * 1024
_BATCH_TEXTS = 32
_BATCH_CHARACTERS = 64 * 1024
_ROW_ENDINGS = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Item:
    """One text to tag.

    Attributes:
        document: its id and text.
        extra: further fields of its JSONL object, which go through.
        error: why it could not be read; its text is then empty.
        size: bytes read, for a progress bar.
    """

    document: Document
    extra: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    size: int = 0


def read_items(paths: Sequence[Path], stdin: BinaryIO, kind: str | None = None) -> Iterator[Item]:
    """Texts of files and folders in the order given; of `stdin` where there are none or the name is "-".

    Args:
        kind: "text" (a text a line), "jsonl" (an object a line with the field "text") or "brat" (a folder of .txt);
            None = folders are BRAT, .jsonl is JSONL, and stdin is JSONL when it begins with "{".

    Raises:
        SlonikError: a path that is not there or cannot be read, an unknown kind.
    """
    if kind is not None and kind not in KINDS:
        raise SlonikError(f"--from is {kind!r}: use {', '.join(KINDS)}")
    number = 0
    for path in paths or [Path("-")]:
        if path.is_dir():
            for document in read_brat(path, Counts(), texts_alone=True):
                yield Item(Document(document.id, document.text), size=len(document.text))
            continue
        for line, rows in _lines(path, stdin, kind):
            number += 1
            yield _item(line, number, rows)


def _lines(path: Path, stdin: BinaryIO, kind: str | None) -> Iterator[tuple[bytes, bool]]:
    """(raw line, whether it is JSON) of one input."""
    if str(path) == "-":
        yield from _of_stream(stdin, kind == "jsonl" if kind else None)
        return
    name = Path(path.stem) if path.suffix == ".gz" else path
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with cast("IO[bytes]", opener(path, "rb")) as stream:
            yield from _of_stream(stream, kind == "jsonl" if kind else name.suffix.lower() in _ROW_ENDINGS)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SlonikError(f"cannot read {path}: {reason}") from None


def _of_stream(stream: IO[bytes] | BinaryIO, rows: bool | None) -> Iterator[tuple[bytes, bool]]:
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        if rows is None:
            rows = raw.lstrip(b"\xef\xbb\xbf \t").startswith(b"{")
        rest = raw
        while len(raw) > MAX_LINE_BYTES and rest and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES)
        yield raw, rows


def _item(raw: bytes, number: int, rows: bool) -> Item:
    size = len(raw)
    empty = Document(str(number), "")
    if size > MAX_LINE_BYTES:
        return Item(empty, error=f"line {number}: longer than {MAX_LINE_BYTES:,} bytes", size=size)
    try:
        line = raw.rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError as error:
        return Item(empty, error=f"line {number}: not UTF-8 (byte {error.start + 1})", size=size)
    line = line.removeprefix("\ufeff") if number == 1 else line
    if not rows:
        return Item(Document(str(number), line), size=size)
    try:
        row = json.loads(line)
    except ValueError:
        return Item(empty, error=f"line {number}: not JSON", size=size)
    text = row.get("text") if isinstance(row, dict) else row
    if not isinstance(text, str):
        return Item(empty, error=f'line {number}: no text in the field "text"', size=size)
    fields = row if isinstance(row, dict) else {}
    extra = {name: value for name, value in fields.items() if name not in ("id", "text", "spans", "brat", "tokens")}
    return Item(Document(str(fields.get("id", number)), text), extra, size=size)


def tag_items(
    tagger: Tagger, items: Iterable[Item], *, on_batch: Callable[[Sequence[Item]], None] = lambda batch: None
) -> Iterator[Item]:
    """The same items with spans, in order; at most some dozens of texts are held at once."""
    waiting = iter(items)
    while batch := list(_batch(waiting)):
        found = tagger.tag([item.document.text for item in batch])
        for item, spans in zip(batch, found, strict=True):
            yield replace(item, document=replace(item.document, spans=tuple(spans)))
        on_batch(batch)


def _batch(items: Iterator[Item]) -> Iterator[Item]:
    characters = 0
    for item in itertools.islice(items, _BATCH_TEXTS):
        yield item
        characters += len(item.document.text)
        if characters >= _BATCH_CHARACTERS:
            return
