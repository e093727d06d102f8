"""Annotated collections by format: one door for reading and writing, and the guess which format it is.

Formats: brat (a folder), conll, jsonl (spans; rows of doccano, Prodigy and others too), hf (tokens and ner_tags, JSONL
or Parquet), label-studio (JSON), spacy (DocBin, read only); a file or a folder of files. JSON of other programs may be
a list in one file. Spans as JSONL, our own format, are written here; what a row means is in `rows`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError, unknown_name
from slonik.core.files import check_apart, new_folder, write_bytes
from slonik.data.annotations.brat import read_brat, write_brat
from slonik.data.annotations.conll import read_conll, write_conll
from slonik.data.annotations.docbin import read_docbin
from slonik.data.annotations.document import POLICIES, Counts, Document, LabelMapping, Policy, noting_labels
from slonik.data.annotations.label_studio import document_of_task, is_task, write_tasks
from slonik.data.annotations.rows import document_of_row
from slonik.data.annotations.tags import SCHEMES, Scheme
from slonik.data.annotations.token_rows import TAG_COLUMNS, read_token_rows, write_token_rows
from slonik.text.lines import KeyTwice, guess_encoding, json_line, json_lines, json_with_keys_once, numbered_lines

FORMATS = ("brat", "conll", "jsonl", "hf", "label-studio", "spacy")
WRITTEN = ("brat", "conll", "jsonl", "hf", "label-studio")
_OTHER_NAMES = {
    "doccano": "jsonl",
    "prodigy": "jsonl",
    "runne": "jsonl",
    "docbin": "spacy",
    "labelstudio": "label-studio",
}
_CONLL_ENDINGS = (".conll", ".bio", ".iob", ".iob2", ".bioes", ".conll2003")
_ROW_ENDINGS = (".jsonl", ".ndjson", ".parquet")
_JSON_ENDINGS = (".json",)
_BESIDE = ("labels.json", "dataset_info.json", "label_config.json", "records.json", "passport.json")


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
    if ending == ".spacy":
        return "spacy"
    if ending in _JSON_ENDINGS:
        return _kind_of_row(next((row for _, row in _json_rows(path)), {}))
    if ending in _ROW_ENDINGS:
        first = next((line for _, line in numbered_lines(path) if line.strip()), "{}")
        try:
            row = json.loads(first)
        except ValueError:
            row = {}
        return _kind_of_row(row)
    if ending in (".tsv", ".csv", ".xml", ".xmi", ".xlsx", ".xls", ".ods", ".docx", ".pdf", ".zip"):
        raise SlonikError(
            f"{path} is a {ending} file, which is not read as annotations: give BRAT, CoNLL, JSON or JSONL, Parquet or "
            "DocBin; a file of tokens and tags may be named with --from conll"
        )
    return "conll"


def _kind_of_row(row: Any) -> str:
    if is_task(row):
        return "label-studio"
    tagged = isinstance(row, dict) and "tokens" in row and any(name in row for name in TAG_COLUMNS)
    return "hf" if tagged and "spans" not in row else "jsonl"


def _files(folder: Path) -> list[Path]:
    endings = (*_CONLL_ENDINGS, *_ROW_ENDINGS, *_JSON_ENDINGS, ".spacy")
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in endings]
    return sorted(path for path in found if path.name not in _BESIDE)


def read_documents(path: str | Path, counts: Counts, *, kind: str | None = None) -> Iterator[Document]:
    """Documents of a file or folder, in order of names and lines.

    Args:
        kind: one of FORMATS, or the name of a program whose rows are one of them (doccano, prodigy); None = guess.

    Raises:
        SlonikError: as the readers do, and for an unknown format; no document at all.
    """
    kind = _OTHER_NAMES.get(kind, kind) if kind is not None else None
    if kind is not None and kind not in FORMATS:
        raise SlonikError(unknown_name(kind, (*FORMATS, *_OTHER_NAMES), "annotation format"))
    kind = kind or guess_format(path)
    path = Path(path)
    if kind == "brat":
        yield from read_brat(path, counts)
        return
    files = _files(path) if path.is_dir() else [path]
    if not files:
        raise SlonikError(f"no file of the format {kind} in {path}")
    found = False
    before = Counts(counts)
    for file in files:
        for document in _read(file, kind, counts):
            found = True
            yield document
    if not found:
        why = "; ".join(f"{count:,} {words}" for words, count in sorted((counts - before).items()))
        raise SlonikError(f"{path} holds no document" + (f" that is gold: {why}" if why else ""))


def _read(file: Path, kind: str, counts: Counts) -> Iterator[Document]:
    if kind == "conll":
        return read_conll(file, counts)
    if kind == "hf":
        return read_token_rows(file, counts)
    return read_docbin(file, counts) if kind == "spacy" else read_spans_jsonl(file, counts)


def write_documents(
    documents: Iterable[Document], folder: str | Path, kind: str, counts: Counts, *,
    scheme: Scheme = "BIO", policy: Policy = "longest", parquet: bool = False,
) -> int:  # fmt: skip
    """Write documents into `folder` in format `kind`; how many.

    BRAT makes two files per document; the others one file, `data.conll`, `data.jsonl`, `data.parquet` or `data.json`.

    Raises:
        SlonikError: as the writers do, and for an unknown format.
    """
    folder = Path(folder)
    if kind == "brat":
        return write_brat(documents, folder, counts)
    if kind in ("conll", "hf"):
        documents = _whole(documents, counts)
    if kind == "label-studio":
        tasks = write_tasks(_whole(documents, counts), predicted=False)
        write_bytes(folder / "data.json", json.dumps(tasks, ensure_ascii=False, indent=1).encode("utf-8", "replace"))
        return len(tasks)
    if kind == "conll":
        return write_conll(documents, folder / "data.conll", counts, scheme=scheme, policy=policy)
    if kind == "jsonl":
        return write_spans_jsonl(documents, folder / "data.jsonl")
    if kind == "hf":
        name = "data.parquet" if parquet else "data.jsonl"
        return write_token_rows(documents, folder / name, counts, scheme=scheme, policy=policy)
    raise SlonikError(unknown_name(kind, WRITTEN, "annotation format"))


def _whole(documents: Iterable[Document], counts: Counts) -> Iterator[Document]:
    """The same documents; those with stretches that nobody annotated are counted, for these formats cannot say so."""
    for document in documents:
        if document.unknown:
            counts["documents whose stretches without annotation are written as if they held no entity"] += 1
        yield document


def convert(
    source: str | Path, out: str | Path, to: str, *,
    kind: str | None = None, mapping: LabelMapping = LabelMapping(), scheme: str | None = None,
    overlaps: str | None = None, parquet: bool = False,
) -> tuple[int, Counts]:  # fmt: skip
    """One annotated file or folder to another format, without moving a character.

    Args:
        out: folder to make, whole or not at all.
        to, kind: formats of the result and of the source; kind None = guess.
        mapping: merges and drops labels on the way.
        scheme: tags of conll and hf; None = BIO.
        overlaps: who stays where tags cannot say both; None = as the mapping says.
        parquet: hf as Parquet instead of JSONL.

    Returns:
        How many documents, and what was left out or changed.

    Raises:
        SlonikError: an unknown format, scheme or policy; what the readers and writers raise.
    """
    if to not in WRITTEN:
        raise SlonikError(unknown_name(to, WRITTEN, "--to format"))
    idle = {"--scheme": scheme is not None, "--overlaps": overlaps is not None} if to not in ("conll", "hf") else {}
    idle["--parquet"] = parquet and to != "hf"
    if found := [name for name, given in idle.items() if given]:
        raise SlonikError(f"{', '.join(found)} does nothing with --to {to}: leave it out")
    if scheme is not None and scheme.upper() not in SCHEMES:
        raise SlonikError(f"--scheme is {scheme!r}: use {' or '.join(SCHEMES)}")
    if overlaps is not None and overlaps not in POLICIES:
        raise SlonikError(f"--overlaps is {overlaps!r}: use {', '.join(POLICIES)}")
    counts = Counts()
    met: set[str] = set()
    documents = mapping.apply(noting_labels(read_documents(source, counts, kind=kind), met), counts)
    tags: Scheme = "BIOES" if (scheme or "").upper() == "BIOES" else "BIO"
    policy = next((each for each in POLICIES if each == overlaps), mapping.overlaps)
    check_apart(out, [source])
    with new_folder(out) as folder:
        written = write_documents(documents, folder, to, counts, scheme=tags, policy=policy, parquet=parquet)
    mapping.count_unmet(met, counts)
    return written, counts


def read_spans_jsonl(path: str | Path, counts: Counts | None = None) -> Iterator[Document]:
    """Documents of a file of JSON lines, or of one JSON list, in order; what each value may be is in `rows`.

    Raises:
        SlonikError: the file or a line is broken, or a span does not fit its text (file and line are named).
    """
    path, counts = Path(path), Counts() if counts is None else counts
    rows = _json_rows(path) if path.suffix.lower() in _JSON_ENDINGS else json_lines(path, keys_once=True)
    names = _label_names(path)
    for where, row in rows:
        number = where.rpartition(" ")[2]
        if is_task(row):
            document = document_of_task(row, where, number, counts)
        else:
            document = document_of_row(row, where, number, counts, names=names)
        if document is not None:
            yield document


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """The values of a JSON list, of the list in an object, or the object itself; of lines too."""
    try:
        content = path.read_bytes()
        value = json_with_keys_once(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        guess = guess_encoding(content)
        hint = f"; it looks like {guess.replace('_', '-')}" if guess else ""
        raise SlonikError(f"{path}: not UTF-8{hint}; convert the file to UTF-8 first") from None
    except OSError as error:
        raise SlonikError(f"cannot read {path}: {error.strerror or error}") from None
    except KeyTwice as error:
        raise SlonikError(f"{path}: {error}") from None
    except ValueError as error:
        if content.count(b"\n") < 1 or not content.lstrip().startswith((b"{", b"[")):
            raise SlonikError(f"{path}: not JSON ({error})") from None
        yield from json_lines(path, keys_once=True)
        return
    if (
        isinstance(value, dict)
        and not is_task(value)
        and not any(isinstance(value.get(one), str) for one in ("text", "data"))
    ):
        lists = [
            name
            for name in ("annotations", "data", "documents", "examples", "rows")
            if isinstance(value.get(name), list)
        ]
        if not lists:
            raise SlonikError(f"{path} holds an object without a list of texts (fields: {', '.join(value) or 'none'})")
        value = value[lists[0]]
    for number, row in enumerate(value if isinstance(value, list) else [value], start=1):
        if row is not None:  # what some exporters put between
            yield f"{path}, row {number}", row


def _label_names(path: Path) -> list[str] | dict[str, str]:
    """Names of labels that are numbers, from labels.json beside the file: a list of names, or doccano's objects."""
    file = path.parent / "labels.json"
    if not file.is_file():
        return []
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SlonikError(f"{file} is not JSON ({error})") from None
    rows = content if isinstance(content, list) else []
    if rows and all(isinstance(row, dict) and "id" in row and isinstance(row.get("text"), str) for row in rows):
        return {str(row["id"]): row["text"] for row in rows}
    return [str(row) for row in rows]


def as_row(
    document: Document,
    extra: Mapping[str, Any] | None = None,
    *,
    normal: Callable[[str, str], str] | None = None,
) -> dict[str, Any]:
    """The JSON object of a document, as `slonik tag` writes it: confidences have four digits.

        {"id": "12", "text": "...", "spans": [{"start": 0, "end": 5, "label": "ORG", "text": "...", "confidence": .97}]}

    Args:
        extra: further fields.
        normal: gives the normal form of a name of a label: spans have it as `normal`.

    The BRAT lines and the tokens that came with a document stand beside, so that nothing is lost on the way back.
    """
    spans = []
    for span in document.spans:
        item: dict[str, Any] = {"start": span.start, "end": span.end, "label": span.label}
        item["text"] = document.text[span.start : span.end]
        if span.confidence is not None:
            item["confidence"] = round(span.confidence, 4)
        if normal is not None:
            item["normal"] = normal(item["text"], span.label)
        spans.append(item)
    row: dict[str, Any] = {"id": document.id, "text": document.text, "spans": spans, **(extra or {})}
    if document.annotations:
        row["brat"] = list(document.annotations)
    if document.tokens:
        row["tokens"] = [list(token) for token in document.tokens]
    if document.unknown:
        row["unknown"] = [list(stretch) for stretch in document.unknown]
    return row


def write_spans_jsonl(documents: Iterable[Document], path: str | Path) -> int:
    """Write documents to a file, atomically; how many."""
    lines = [json_line(as_row(document)) for document in documents]
    write_bytes(path, "".join(line + "\n" for line in lines).encode("utf-8"))
    return len(lines)
