"""Tag texts: some in memory (`tag`), or files of any number in order and constant memory (`tag_files`).

Lines, JSONL and BRAT folders in, spans as JSONL or BRAT out. A line that cannot be read (not UTF-8, too long, no JSON
text) keeps its place as an empty document, is reported by number, and is counted: one bad line must not end a night's
run.
"""

from __future__ import annotations

import codecs
import gzip
import itertools
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from slonik.core.errors import SlonikError
from slonik.core.files import check_apart, check_new_file, check_new_folder, new_file, new_folder
from slonik.core.numbers import check_number
from slonik.core.progress import progress_bar, shown
from slonik.data.annotations.brat import read_brat, write_brat
from slonik.data.annotations.document import Counts, Document, Tagger
from slonik.data.annotations.formats import as_row
from slonik.tagging.models import load_tagger
from slonik.text.lines import json_line

KINDS = ("text", "jsonl", "brat")
MAX_LINE_BYTES = 16 * 1024 * 1024
_BATCH_TEXTS = 32
_BATCH_CHARACTERS = 64 * 1024
_ROW_ENDINGS = (".jsonl", ".ndjson")


def checked_places(files: Sequence[str | Path], out: str | Path | None, to: str) -> list[Path]:
    """The files to read, and `out` as a place for what is written, held to be there and to be free.

    Raises:
        SlonikError: a file that is not there, BRAT without a folder, a place that is taken or among the files.
    """
    if to == "brat" and out is None:
        raise SlonikError("--to brat makes a folder: say which with --out DIR")
    paths = [Path(file) for file in files]
    missing = [path for path in paths if str(path) != "-" and not path.exists()]
    if missing:
        raise SlonikError(f"there is no {missing[0]}: give text files, .jsonl or BRAT folders")
    if out is not None:
        check_apart(out, paths)
        check_new_folder(out) if to == "brat" else check_new_file(out)
    return paths


def tag(
    model: str | Path | Tagger,
    texts: str | Path | Document | Iterable[str | Path | Document],
    *,
    device: str | None = None,
    trust_remote_code: bool = False,
    min_confidence: float | None = None,
    types: Mapping[str, str] | None = None,
    progress: bool = False,
) -> list[Document]:
    """Find entities in texts.

    Args:
        model: folder of a tagger, hub id, or one that is loaded.
        texts: texts (strings), documents, and files as paths: text files (a text a line), JSONL, BRAT folders; one or
            several.
        device: of an encoder that is loaded here. trust_remote_code: run Python code that comes with it.
        min_confidence: leave out spans that the tagger is less sure of, 0 to 1.
        types: label -> description of further types, for a tagger with a span head (`SpanTagger.described`).
        progress: show it on standard error.

    Returns:
        A document per text, in order; each of its spans has start and end (code points), label and confidence.

    Raises:
        SlonikError: no such model, one that is no tagger, a file that cannot be read or has a bad line.
        MissingExtra: the packages of that kind of tagger are not installed.
    """
    least = checked_confidence(min_confidence)
    tagger = _with_types(_open(model, device, trust_remote_code), types)
    given = [texts] if isinstance(texts, str | Path | Document) else texts
    items = list(_items(given))
    with shown(progress), progress_bar("tagging", total=len(items)) as bar:
        found = tag_items(tagger, items, on_batch=lambda batch: bar.advance(len(batch)))
        return [sure(item.document, least)[0] for item in found]


def _items(given: Iterable[str | Path | Document]) -> Iterator[Item]:
    for number, one in enumerate(given, start=1):
        if isinstance(one, Document):
            yield Item(one)
        elif isinstance(one, str):
            yield Item(Document(str(number), one))
        elif not isinstance(one, Path):
            raise SlonikError(f"text {number} is {one!r}, a {type(one).__name__}: give strings, documents or paths")
        else:
            for item in read_items([one], sys.stdin.buffer):
                if item.error is not None:
                    raise SlonikError(f"{one}, {item.error}")
                yield item


def _with_types(tagger: Tagger, types: Mapping[str, str] | None) -> Tagger:
    """The tagger with further types that are described in words."""
    if not types:
        return tagger
    described = getattr(tagger, "described", None)
    if described is None:
        raise SlonikError(
            f"{tagger.name} knows its labels alone ({', '.join(tagger.labels)}): a type described in words needs a "
            "tagger with a span head (slonik finetune ENCODER --task ner --nested)"
        )
    more: Tagger = described(dict(types))
    return more


def _open(model: str | Path | Tagger, device: str | None, trust_remote_code: bool) -> Tagger:
    if isinstance(model, str | Path):
        return load_tagger(model, device=device, trust_remote_code=trust_remote_code)
    return model


@dataclass
class TagSummary:
    """What a stream of texts had.

    Attributes:
        texts: how many. labels: spans of each label. empty: texts without a word. bad: lines that could not be read.
        unsure: spans left out because the tagger was less sure of them than was asked for.
        moved: what the format that was written could not keep, in words -> how often.
    """

    texts: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    bad: int = 0
    unsure: int = 0
    moved: Counts = field(default_factory=Counter)


def tag_files(
    model: str | Path | Tagger,
    files: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    to: str = "jsonl",
    kind: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    min_confidence: float | None = None,
    normal_forms: bool = False,
    types: Mapping[str, str] | None = None,
    on_bad: Callable[[str], None] = lambda sentence: None,
    progress: bool = False,
) -> TagSummary:
    """Find entities in the texts of files, in order and constant memory.

    Args:
        model: folder of a tagger, hub id, or one that is loaded.
        files: text files (a text a line), .jsonl (field text; .gz too), BRAT folders; none, or "-": standard input.
        out: a file for JSONL (`id`, `text`, `spans`), a folder for BRAT; None = standard output.
        to: "jsonl" or "brat".
        kind: "text", "jsonl" or "brat"; None = by name, or first line.
        min_confidence: leave out spans that the tagger is less sure of, 0 to 1; counted.
        normal_forms: spans of JSONL have the name in the nominative as `normal` (`tagging.normal_forms`).
        types: label -> description of further types, for a tagger with a span head (`SpanTagger.described`).
        on_bad: called with a sentence per line that cannot be read.
        progress: show it on standard error.

    Raises:
        SlonikError: no such model or file, an unknown format, BRAT without a folder, a full disk.
        MissingExtra: the packages of that kind of tagger are not installed.
    """
    if to not in ("jsonl", "brat"):
        alone = " (label-studio goes with --suggest)" if to == "label-studio" else ""
        raise SlonikError(f"--to is {to!r}: use jsonl or brat{alone}")
    if to == "brat" and normal_forms:
        raise SlonikError("--normal-forms are a field of JSONL, which BRAT has no place for: leave one of the two out")
    least = checked_confidence(min_confidence)
    paths = checked_places(files, out, to)
    tagger, summary = _with_types(_open(model, device, trust_remote_code), types), TagSummary()
    normal = None
    if normal_forms:
        from slonik.tagging.normal_forms import normal_form

        normal = normal_form
        normal("а")  # a package that is missing is said before any text is tagged
    sizes = [path.stat().st_size for path in paths if path.is_file() and path.suffix != ".gz"]
    total = sum(sizes) if paths and len(sizes) == len(paths) else None
    with shown(progress), progress_bar("tagging", total=total) as bar:
        found = tag_items(
            tagger,
            read_items(paths, sys.stdin.buffer, kind),
            on_batch=lambda batch: bar.advance(sum(item.size for item in batch)),
        )
        counted = _counted(found, summary, on_bad, least)
        if to == "brat":
            with new_folder(str(out)) as folder:
                write_brat((item.document for item in counted), folder, summary.moved)
        else:
            with _target(out) as stream:
                for item in counted:
                    extra = item.extra | ({"error": item.error} if item.error else {})
                    stream.write(json_line(as_row(item.document, extra, normal=normal)) + "\n")
    return summary


def checked_confidence(least: float | None) -> float:
    """What was asked for, 0 for nothing.

    Raises:
        SlonikError: it is no probability.
    """
    if least is not None:
        check_number("--min-confidence", least, least=0, most=1)
    return least or 0.0


def sure(document: Document, least: float) -> tuple[Document, int]:
    """The document without spans of less confidence; and how many went."""
    kept = tuple(span for span in document.spans if span.confidence is None or span.confidence >= least)
    return replace(document, spans=kept), len(document.spans) - len(kept)


def _counted(
    items: Iterable[Item], summary: TagSummary, on_bad: Callable[[str], None], least: float = 0.0
) -> Iterator[Item]:
    for item in items:
        if least:
            document, gone = sure(item.document, least)
            item = replace(item, document=document)
            summary.unsure += gone
        summary.texts += 1
        summary.labels.update(span.label for span in item.document.spans)
        if item.error is not None:
            summary.bad += 1
            on_bad(item.error)
        elif not item.document.text.strip():
            summary.empty += 1
        yield item


@contextmanager
def _target(out: str | Path | None) -> Iterator[IO[str]]:
    """Where JSON lines go: to standard output as they come, into a file when it is whole."""
    if out is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with new_file(out) as path, open(path, "w", encoding="utf-8") as stream:
        yield stream


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
    several = len(paths) > 1
    for path in paths or [Path("-")]:
        if kind == "brat" and not path.is_dir():
            raise SlonikError(f"--from brat reads folders, and {path} is none: leave it out, or say text or jsonl")
        if path.is_dir():
            if kind not in (None, "brat"):
                raise SlonikError(
                    f"{path} is a folder, which --from {kind} does not read: name its files, or --from brat"
                )
            for document in read_brat(path, Counts(), texts_alone=True):
                yield Item(Document(document.id, document.text), size=len(document.text))
            continue
        for place, (line, rows) in enumerate(_lines(path, stdin, kind), start=1):
            number += 1
            yield _item(line, number, rows, f"{path}, line {place}" if several else f"line {place}", first=place == 1)


def _lines(path: Path, stdin: BinaryIO, kind: str | None) -> Iterator[tuple[bytes, bool]]:
    """(raw line, whether it is JSON) of one input."""
    if str(path) == "-":
        yield from _of_stream(stdin, kind == "jsonl" if kind else None, "standard input")
        return
    name = Path(path.stem) if path.suffix == ".gz" else path
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with cast("IO[bytes]", opener(path, "rb")) as stream:
            yield from _of_stream(stream, kind == "jsonl" if kind else name.suffix.lower() in _ROW_ENDINGS, str(path))
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SlonikError(f"cannot read {path}: {reason}") from None


def _of_stream(stream: IO[bytes] | BinaryIO, rows: bool | None, called: str) -> Iterator[tuple[bytes, bool]]:
    first = True
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        if first and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # its lines would be read as others
            raise SlonikError(f"{called} is UTF-16, not UTF-8: convert it with iconv -f utf-16 -t utf-8 OLD > NEW")
        first = False
        if rows is None:
            rows = raw.lstrip(b"\xef\xbb\xbf \t").startswith(b"{")
        rest = raw
        while len(raw) > MAX_LINE_BYTES and rest and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES)
        yield raw, rows


def _item(raw: bytes, number: int, rows: bool, where: str, *, first: bool) -> Item:
    """The text of a line.

    Args:
        number: its id, where it says none. where: begins the sentence of an error. first: of its file.
    """
    size = len(raw)
    empty = Document(str(number), "")
    if size > MAX_LINE_BYTES:
        return Item(empty, error=f"{where}: longer than {MAX_LINE_BYTES:,} bytes", size=size)
    try:
        line = raw.rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError as error:
        return Item(empty, error=f"{where}: not UTF-8 (byte {error.start + 1})", size=size)
    line = line.removeprefix("\ufeff") if first else line
    if not rows:
        return Item(Document(str(number), line), size=size)
    try:
        row = json.loads(line)
    except ValueError:
        return Item(empty, error=f"{where}: not JSON", size=size)
    text = row.get("text") if isinstance(row, dict) else row
    if not isinstance(text, str):
        return Item(empty, error=f'{where}: no text in the field "text"', size=size)
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
