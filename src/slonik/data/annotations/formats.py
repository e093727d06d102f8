"""Annotated collections by format: one door for reading and writing, and the guess which format it is.

Formats: brat (a folder), conll, jsonl (spans), hf (tokens and ner_tags, JSONL or Parquet); a file or a folder of files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.core.lookup import unknown_name
from slonik.data.annotations.brat import read_brat, write_brat
from slonik.data.annotations.conll import read_conll, write_conll
from slonik.data.annotations.document import Document
from slonik.data.annotations.mapping import Counts
from slonik.data.annotations.overlaps import Policy
from slonik.data.annotations.spans_jsonl import read_spans_jsonl, write_spans_jsonl
from slonik.data.annotations.tags import Scheme
from slonik.data.annotations.token_rows import TAG_COLUMNS, read_token_rows, write_token_rows
from slonik.text.lines import numbered_lines

FORMATS = ("brat", "conll", "jsonl", "hf")
_CONLL_ENDINGS = (".conll", ".bio", ".iob", ".iob2", ".bioes", ".conll2003")
_ROW_ENDINGS = (".jsonl", ".ndjson", ".parquet")


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
