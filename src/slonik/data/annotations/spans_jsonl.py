"""Spans as JSON Lines: one text a line with its spans as character offsets. The format `slonik tag` writes.

    {"id": "12", "text": "...", "spans": [{"start": 0, "end": 5, "label": "ORG", "text": "...", "confidence": 0.97}]}

Does: write that, with the BRAT lines and the tokens that came with a document, so that nothing is lost on the way
back; read it, with the spellings that other tools have: "entities" or "label" for "spans", [start, end, label] or
start_offset and end_offset for a span, tokens as objects (doccano, Prodigy). Does not: need the field "text" of a
span; when it is there it must fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from slonik.core.atomic import write_bytes
from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Document, Span
from slonik.data.annotations.tokens import offset_pairs
from slonik.text.lines import numbered_lines

_LINE_ENDS = "\x85\u2028\u2029"  # line ends to Unicode, which json.dumps leaves as they are
_SPAN_FIELDS = ("spans", "entities", "label", "labels")


def read_spans_jsonl(path: str | Path) -> Iterator[Document]:
    """Documents of a file, in order; a line without spans is a text without entities.

    Raises:
        SlonikError: the file or a line is broken, or a span does not fit its text (file and line are named).
    """
    for number, line in numbered_lines(Path(path)):
        if line.strip():
            yield parse_line(line, f"{path}, line {number}", str(number))


def parse_line(line: str, where: str, name: str) -> Document:
    """The document of one line; `where` begins the sentence of an error, `name` is the id if the line has none."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise SlonikError(f"{where}: not JSON ({error})") from None
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise SlonikError(f'{where}: no text; each line is an object with a field "text", and "spans" if it has any')
    text: str = row["text"]
    found: list[Any] = next((row[name] for name in _SPAN_FIELDS if isinstance(row.get(name), list)), [])
    spans = tuple(sorted(_span(item, text, where) for item in found))
    tokens = offset_pairs(row.get("tokens") or [], len(text))
    if tokens is None:
        raise SlonikError(
            f"{where}: the tokens must be [start, end] pairs in order inside the text (or objects with start and end)"
        )
    brat = row.get("brat") or []
    if not isinstance(brat, list) or not all(isinstance(line, str) for line in brat):
        raise SlonikError(f"{where}: brat must be a list of the lines of an .ann file")
    return Document(str(row.get("id", name)), text, spans, tuple(brat), tuple(tokens))


def _span(item: Any, text: str, where: str) -> Span:
    if isinstance(item, list) and len(item) == 3:
        item = dict(zip(("start", "end", "label"), item, strict=True))
    if not isinstance(item, dict):
        raise SlonikError(f"{where}: {item!r} is not a span: use an object with start, end and label")
    start, end = (item.get(name, item.get(f"{name}_offset")) for name in ("start", "end"))
    label = item.get("label", item.get("type"))
    if type(start) is not int or type(end) is not int or not isinstance(label, str) or not label:
        raise SlonikError(f"{where}: the span {item!r} lacks a whole start, a whole end or a label")
    if any(sign in label for sign in "\t\r\n"):
        raise SlonikError(f"{where}: the label {label!r} holds a tab or a line end, which no format can keep")
    if not 0 <= start < end <= len(text):
        raise SlonikError(f"{where}: the span {label} {start} to {end} is outside its text of {len(text)} characters")
    quoted = item.get("text")
    if isinstance(quoted, str) and quoted != text[start:end]:
        raise SlonikError(
            f"{where}: the span {label} {start} to {end} quotes {quoted[:60]!r}, "
            f"and the text has {text[start:end][:60]!r}"
        )
    confidence = item.get("confidence")
    return Span(start, end, label, float(confidence) if isinstance(confidence, int | float) else None)


def as_row(document: Document, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object of a document; confidences have four digits."""
    spans = []
    for span in document.spans:
        item: dict[str, Any] = {"start": span.start, "end": span.end, "label": span.label}
        item["text"] = document.text[span.start : span.end]
        if span.confidence is not None:
            item["confidence"] = round(span.confidence, 4)
        spans.append(item)
    row: dict[str, Any] = {"id": document.id, "text": document.text, "spans": spans, **(extra or {})}
    if document.annotations:
        row["brat"] = list(document.annotations)
    if document.tokens:
        row["tokens"] = [list(token) for token in document.tokens]
    return row


def line_of(document: Document) -> str:
    """One line of the file, without its line end."""
    return json_line(as_row(document))


def json_line(value: Any) -> str:
    """JSON with real letters on one line, whatever a reader takes for a line end; escapes for half surrogate pairs."""
    line = json.dumps(value, ensure_ascii=False)
    for sign in _LINE_ENDS:
        line = line.replace(sign, f"\\u{ord(sign):04x}")
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return line


def write_spans_jsonl(documents: Iterable[Document], path: str | Path) -> int:
    """Write documents to a file, atomically; how many."""
    lines = [line_of(document) for document in documents]
    write_bytes(path, "".join(line + "\n" for line in lines).encode("utf-8"))
    return len(lines)
