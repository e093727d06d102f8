"""encodechka's files as plain data: texts, labels, spans. Nothing is encoded or scored here.

CSV files are read by the standard library, not as data frames: a text that says "NA" or "null" stays a text.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.evaluation.encodechka.tasks import Task


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts, each with a score or a label as written in the file."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Labelled:
    """Texts with a label each."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """A text with entities (type, first character, character after the last), in the order of the file."""

    text: str
    entities: tuple[tuple[str, int, int], ...]


def read_pairs(path: Path, task: Task) -> Pairs:
    """The pairs of a pair task.

    Raises:
        SlonikError: not readable as CSV, or a column is missing.
    """
    first, second, targets = _columns(path, (*task.columns, task.target))
    return Pairs(first, second, targets)


def read_labelled(path: Path, column: str, target: str) -> Labelled:
    """Texts in `column` and labels in `target`; raises as `read_pairs`."""
    texts, labels = _columns(path, (column, target))
    return Labelled(texts, labels)


def read_sentences(path: Path) -> tuple[str, ...]:
    """The sentences of the speed task, one a line, stripped.

    Raises:
        SlonikError: not UTF-8.
    """
    return tuple(line.strip() for line in _text(path).split("\n") if line.strip())


def read_documents(path: Path) -> tuple[Document, ...]:
    """The texts of a word task: a JSON object with `texts` and `labels`.

    Raises:
        SlonikError: not JSON of that form, or a span that does not fit its text.
    """
    try:
        content = json.loads(_text(path))
        rows = list(zip(content["texts"], content["labels"], strict=True))
        documents = tuple(
            Document(text, tuple((str(kind), int(start), int(end)) for kind, start, end in spans))
            for text, spans in rows
        )
    except (ValueError, KeyError, TypeError) as error:
        raise SlonikError(f"{path} is not a file of texts and labelled spans ({error}): fetch it again") from None
    for number, document in enumerate(documents):
        for kind, start, end in document.entities:
            if not 0 <= start < end <= len(document.text):
                raise SlonikError(f"{path}: span {kind} {start}-{end} does not fit text {number}: fetch it again")
    return documents


def numbers(values: Sequence[str], path: Path) -> list[float]:
    """Scores or 0/1 labels as numbers.

    Raises:
        SlonikError: one is not a number.
    """
    try:
        return [float(value) for value in values]
    except ValueError as error:
        raise SlonikError(f"{path} has a target that is not a number ({error}): fetch it again") from None


def _columns(path: Path, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    # Not splitlines(): it would also cut at the rarer separators (U+2028, form feed) that comments contain.
    rows = csv.DictReader(io.StringIO(_text(path), newline=""))
    missing = [name for name in names if name not in (rows.fieldnames or ())]
    if missing:
        raise SlonikError(
            f"{path} has no column {missing[0]!r} (it has {', '.join(rows.fieldnames or ())}): fetch it again"
        )
    try:
        table = [tuple(row[name] for name in names) for row in rows]
    except csv.Error as error:
        raise SlonikError(f"{path} is not a sound CSV file ({error}): fetch it again") from None
    for number, values in enumerate(table, start=2):
        if any(value is None for value in values):
            raise SlonikError(f"{path}: record {number} is cut short: fetch it again")
    if not table:
        raise SlonikError(f"{path} has no records: fetch it again")
    return tuple(zip(*table, strict=True))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SlonikError(f"{path} is not UTF-8 ({error}): fetch it again") from None
