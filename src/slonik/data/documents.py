"""Corpora as streams of documents: each with the name of where it came from, in constant memory.

A document is a text whose line breaks, where it has any, part sentences or paragraphs. Reads whatever `readers` reads,
and streams data sets of the hub (`hub:NAME`). What a document is in a plain text file is for the caller to say: a line
(the default), what stands between blank lines (BERT's format), or so many lines in a row.

Beside `NAME.txt.gz` there may be `NAME.ranges.tsv` (source, first line, last line, counted from 1): then documents
carry the source's name and end where it ends; otherwise the file's name.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.identity import HUB
from slonik.data.readers import check_column, corpus_files, has_columns, read_texts
from slonik.text.lines import numbered_lines

Border = int | str
"""`line`, `blank`, or the number of lines of a document."""
_PLAIN = (".txt", ".text", "")
MAX_CHARACTERS = 16 * 1024 * 1024
"""Of a document, which is held in memory whole; the longest novels have five million."""


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """A text and the name of its source."""

    text: str
    source: str


def read_documents(
    paths: str | Path | Sequence[str | Path],
    *,
    column: str | int | None = None,
    border: Border = "line",
    keep_whitespace: bool = False,
) -> Iterator[CorpusDocument]:
    """Iterate over the documents of files, folders and hub data sets, in their order.

    Args:
        column: field with the text, for files with several.
        border: what ends a document in a plain text file; records of other formats are documents.
        keep_whitespace: in plain text lines keep their indentation, and documents of so many lines the blank ones
            between others; both go otherwise.

    Files and the first document are checked at the call, not at the first `next`.

    Raises:
        SlonikError: what `readers.read_texts` raises, a column of plain text alone, and an unknown border.
    """
    if not (border in ("line", "blank") or (isinstance(border, int) and border > 0)):
        raise SlonikError(f"documents end at {border!r}; allowed are 'line', 'blank', or a number of lines")
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise SlonikError("no corpus given")
    check_column([file for path in given for file in _files(path)], column)
    found = map(
        _bounded, itertools.chain.from_iterable([_read(path, column, border, keep_whitespace) for path in given])
    )
    first = next(found, None)
    if first is None:
        raise SlonikError(f"the corpus is empty: no text in {', '.join(str(path) for path in given[:3])}")
    return itertools.chain([first], found)


def _bounded(document: CorpusDocument) -> CorpusDocument:
    if len(document.text) > MAX_CHARACTERS:
        raise SlonikError(_too_long(document.source, document.text))
    return document


def _too_long(source: str, text: str) -> str:
    return (
        f"a document of {source} (it begins {text[:40]!r}) has more than {MAX_CHARACTERS:,} characters, and documents "
        "are held in memory whole: split it, or give a border that ends documents sooner"
    )


def _files(path: str | Path) -> Sequence[str | Path]:
    return [path] if str(path).startswith(HUB) else corpus_files(path)


def _read(path: str | Path, column: str | int | None, border: Border, keep: bool) -> Iterator[CorpusDocument]:
    name = str(path)
    if name.startswith(HUB):
        return (CorpusDocument(text, name) for text in read_hub(name, column=column))
    return itertools.chain.from_iterable(_read_file(file, column, border, keep) for file in corpus_files(path))


def _read_file(path: Path, column: str | int | None, border: Border, keep: bool) -> Iterator[CorpusDocument]:
    stem = path.name.removesuffix(".gz")
    if Path(stem).suffix.lower() not in _PLAIN:
        for text in _records(path, column if has_columns(path) else None):
            yield CorpusDocument(text, path.name)
        return
    ranges = _ranges(path)
    lines: list[str] = []
    size = 0
    source = path.name
    for number, raw in numbered_lines(path):
        line = raw.rstrip() if keep else raw.strip()
        now = ranges.get(number, source)
        ended = now != source or (border == "blank" and not line) or (isinstance(border, int) and len(lines) >= border)
        if ended and lines:
            yield CorpusDocument("\n".join(lines), source)
            lines, size = [], 0
        source = now
        if line and border == "line":
            yield CorpusDocument(line, source)
        elif line or (keep and lines):
            lines.append(line)
            size += len(line) + 1
            if size > MAX_CHARACTERS:
                raise SlonikError(_too_long(source, lines[0]))
    if lines:
        yield CorpusDocument("\n".join(lines), source)


def _records(path: Path, column: str | int | None) -> Iterator[str]:
    try:
        yield from read_texts(path, column=column)
    except SlonikError as error:
        if "the corpus is empty" not in str(error):  # one empty file among several is no mistake
            raise


def _ranges(path: Path) -> dict[int, str]:
    """Line at which a source begins -> its name; the line after its end -> the file's name."""
    stem = path.name.removesuffix(".gz")
    file = path.with_name(Path(stem).stem + ".ranges.tsv")
    if not file.is_file():
        return {}
    starts: dict[int, str] = {}
    try:
        with open(file, encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                starts.setdefault(int(row["last_line"]) + 1, path.name)
                starts[int(row["first_line"])] = row["source"]
    except (KeyError, TypeError, ValueError) as error:
        raise SlonikError(
            f"{file} is not a table of ranges ({error}): its columns are source, first_line, last_line"
        ) from None
    return starts


def parse_hub_name(name: str) -> tuple[str, str | None, str]:
    """(data set, configuration or None, split) of `hub:OWNER/NAME[:CONFIG]:SPLIT`; the split is `train` by default.

    Raises:
        SlonikError: not of that form.
    """
    parts = name.removeprefix(HUB).split(":")
    if not parts[0] or len(parts) > 3 or not all(parts):
        raise SlonikError(
            f"{name} is not of the form hub:OWNER/NAME, hub:OWNER/NAME:SPLIT or hub:OWNER/NAME:CONFIG:SPLIT"
        )
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return parts[0], None, parts[1] if len(parts) == 2 else "train"


def read_hub(name: str, *, column: str | int | None = None) -> Iterator[str]:
    """Texts of the data set `name` one after another; blank ones are skipped.

    Args:
        column: the field with the text (default: text).

    Raises:
        SlonikError: no such data set, split or field, or the hub is out of reach.
        MissingExtra: `datasets` is not installed.
    """
    dataset, config, split = parse_hub_name(name)
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra(f"reading {name}", "hub", "datasets") from error
    field = "text" if column is None else str(column)
    try:
        rows: Any = datasets.load_dataset(dataset, config, split=split, streaming=True)
        for row in rows:
            if field not in row:
                raise SlonikError(
                    f"{name} has no field {field!r} (it has: {', '.join(row)[:200]}): name one by --column"
                )
            if isinstance(row[field], str) and (text := row[field].strip()):
                yield text
    except SlonikError:
        raise
    except Exception as error:  # offline, refused, no such split: many classes of several libraries
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise SlonikError(f"cannot read {name} from the hub ({reason}): fetch it to a file and give that") from None
