"""Annotated collections by format: one door for reading and writing, and the guess which format it is.

Formats: brat (a folder), conll, jsonl (spans), hf (tokens and ner_tags, JSONL or Parquet); a file or a folder of files.
Spans as JSONL, our own format, are read and written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError, unknown_name
from slonik.core.files import check_apart, new_folder, write_bytes
from slonik.data.annotations.brat import read_brat, write_brat
from slonik.data.annotations.conll import read_conll, write_conll
from slonik.data.annotations.document import POLICIES, Counts, Document, LabelMapping, Policy, Span
from slonik.data.annotations.tags import SCHEMES, Scheme, offset_pairs
from slonik.data.annotations.token_rows import TAG_COLUMNS, read_token_rows, write_token_rows
from slonik.text.lines import json_line, json_lines, numbered_lines

FORMATS = ("brat", "conll", "jsonl", "hf")
_CONLL_ENDINGS = (".conll", ".bio", ".iob", ".iob2", ".bioes", ".conll2003")
_ROW_ENDINGS = (".jsonl", ".ndjson", ".parquet")
_SPAN_FIELDS = ("spans", "entities", "label", "labels")


def guess_format(path: str | Path) -> str:
    """The format of a file or folder, by names first, then by the first row of JSONL.

    Raises:
        SlonikError: nothing there, or nothing that is known.
    """
    path = Path(path)
    if path.is_dir():
        if next(path.rglob("*.ann"), None) is not None:
            return "brat"
        files = _files(path)
        if not files:
            raise SlonikError(f"no annotated file in {path}: give BRAT (.txt and .ann), CoNLL, JSONL or Parquet")
        return guess_format(files[0])
    if not path.exists():
        raise SlonikError(f"there is no {path}")
    ending = path.suffix.lower() if path.suffix != ".gz" else Path(path.stem).suffix.lower()
    if ending == ".parquet":
        return "hf"
    if ending in _ROW_ENDINGS:
        first = next((line for _, line in numbered_lines(path) if line.strip()), "{}")
        try:
            row = json.loads(first)
        except ValueError:
            row = {}
        tagged = isinstance(row, dict) and "tokens" in row and any(name in row for name in TAG_COLUMNS)
        return "hf" if tagged and "spans" not in row else "jsonl"
    return "conll"


def _files(folder: Path) -> list[Path]:
    endings = (*_CONLL_ENDINGS, *_ROW_ENDINGS)
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in endings)


def read_documents(path: str | Path, counts: Counts, *, kind: str | None = None) -> Iterator[Document]:
    """Documents of a file or folder, in order of names and lines.

    Args:
        kind: one of FORMATS; None = guess.

    Raises:
        SlonikError: as the readers do, and for an unknown format; no document at all.
    """
    if kind is not None and kind not in FORMATS:
        raise SlonikError(unknown_name(kind, FORMATS, "annotation format"))
    kind = kind or guess_format(path)
    path = Path(path)
    if kind == "brat":
        yield from read_brat(path, counts)
        return
    files = _files(path) if path.is_dir() else [path]
    if not files:
        raise SlonikError(f"no file of the format {kind} in {path}")
    found = False
    for file in files:
        if kind == "conll":
            documents = read_conll(file, counts)
        else:
            documents = read_spans_jsonl(file) if kind == "jsonl" else read_token_rows(file)
        for document in documents:
            found = True
            yield document
    if not found:
        raise SlonikError(f"{path} holds no document")


def write_documents(
    documents: Iterable[Document], folder: str | Path, kind: str, counts: Counts, *,
    scheme: Scheme = "BIO", policy: Policy = "longest", parquet: bool = False,
) -> int:  # fmt: skip
    """Write documents into `folder` in format `kind`; how many.

    BRAT makes two files per document; the others one file, `data.conll`, `data.jsonl` or `data.parquet`.

    Raises:
        SlonikError: as the writers do, and for an unknown format.
    """
    folder = Path(folder)
    if kind == "brat":
        return write_brat(documents, folder, counts)
    if kind == "conll":
        return write_conll(documents, folder / "data.conll", counts, scheme=scheme, policy=policy)
    if kind == "jsonl":
        return write_spans_jsonl(documents, folder / "data.jsonl")
    if kind == "hf":
        name = "data.parquet" if parquet else "data.jsonl"
        return write_token_rows(documents, folder / name, counts, scheme=scheme, policy=policy)
    raise SlonikError(unknown_name(kind, FORMATS, "annotation format"))


def convert(
    source: str | Path, out: str | Path, to: str, *,
    kind: str | None = None, mapping: LabelMapping = LabelMapping(), scheme: str = "BIO",
    overlaps: str | None = None, parquet: bool = False,
) -> tuple[int, Counts]:  # fmt: skip
    """One annotated file or folder to another format, without moving a character.

    Args:
        out: folder to make, whole or not at all.
        to, kind: formats of the result and of the source; kind None = guess.
        mapping: merges and drops labels on the way.
        scheme: tags of conll and hf. overlaps: who stays where tags cannot say both; None = as the mapping says.
        parquet: hf as Parquet instead of JSONL.

    Returns:
        How many documents, and what was left out or changed.

    Raises:
        SlonikError: an unknown format, scheme or policy; what the readers and writers raise.
    """
    if to not in FORMATS:
        raise SlonikError(unknown_name(to, FORMATS, "--to format"))
    if scheme.upper() not in SCHEMES:
        raise SlonikError(f"--scheme is {scheme!r}: use {' or '.join(SCHEMES)}")
    if overlaps is not None and overlaps not in POLICIES:
        raise SlonikError(f"--overlaps is {overlaps!r}: use {', '.join(POLICIES)}")
    counts = Counts()
    documents = mapping.apply(read_documents(source, counts, kind=kind), counts)
    tags: Scheme = "BIO" if scheme.upper() == "BIO" else "BIOES"
    policy = next((each for each in POLICIES if each == overlaps), mapping.overlaps)
    check_apart(out, [source])
    with new_folder(out) as folder:
        written = write_documents(documents, folder, to, counts, scheme=tags, policy=policy, parquet=parquet)
    return written, counts


def read_spans_jsonl(path: str | Path) -> Iterator[Document]:
    """Documents of a file, in order; a line without spans is a text without entities.

    The spellings of other tools are read too: "entities" or "label" for "spans", [start, end, label] or start_offset
    and end_offset for a span, tokens as objects (doccano, Prodigy). The field "text" of a span may be missing; when it
    is there it must fit.

    Raises:
        SlonikError: the file or a line is broken, or a span does not fit its text (file and line are named).
    """
    for where, row in json_lines(Path(path)):
        yield document_of_row({"text": row} if isinstance(row, str) else row, where, where.rpartition(" ")[2])


def document_of_row(row: Any, where: str, name: str) -> Document:
    """The document of one JSON object; `where` begins the sentence of an error, `name` is the id if it has none.

    Raises:
        SlonikError: no text, or spans or tokens that do not fit it.
    """
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
    """The JSON object of a document, as `slonik tag` writes it: confidences have four digits.

        {"id": "12", "text": "...", "spans": [{"start": 0, "end": 5, "label": "ORG", "text": "...", "confidence": .97}]}

    The BRAT lines and the tokens that came with a document stand beside, so that nothing is lost on the way back.
    """
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


def write_spans_jsonl(documents: Iterable[Document], path: str | Path) -> int:
    """Write documents to a file, atomically; how many."""
    lines = [json_line(as_row(document)) for document in documents]
    write_bytes(path, "".join(line + "\n" for line in lines).encode("utf-8"))
    return len(lines)
