"""BRAT standoff: a folder of .txt files with .ann files beside them, read and written without loss.

Does: read text-bound annotations as spans, in one piece or in fragments (a span then covers all from the first to the
last of them, counted), overlapping or not; check each against the words it quotes; keep every line of the .ann,
relations, events, attributes, normalisations and notes too, and write them back byte for byte. Files whose offsets
count otherwise than in code points (see `offsets`) are recognised by the quoted words and counted.
Does not: interpret relations and events.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.core.files import write_bytes
from slonik.data.annotations.document import Counts, Document, Span
from slonik.data.annotations.offsets import Stretch, fitting, points, wrong
from slonik.text.lines import guess_encoding

COVERED = "spans in fragments taken as one span from their first to their last character"
NAMED_TWICE = "annotations with the name (T1) of an earlier one in their file, all kept: what refers to it is unclear"
_LINE_ENDS = re.compile(r"[\r\n]")
_KINDS = "TREAMN#*"  # spans, relations, events, attributes (two ways), normalisations, notes, equivalences
_LONGEST_NAME = 200  # bytes of a part of a path; file systems take 255
_NAME = re.compile(r"([TREAMN]\d+)\t")


@dataclass(frozen=True)
class _Entry:
    """A text-bound annotation: its line (from 1), name, label, fragments and the words it quotes (None = none)."""

    line: int
    name: str
    label: str
    fragments: tuple[tuple[int, int], ...]
    words: str | None

    @property
    def stretch(self) -> Stretch:
        return Stretch(self.fragments, self.words)


def read_brat(folder: str | Path, counts: Counts, *, texts_alone: bool = False) -> Iterator[Document]:
    """Documents of a folder (sub-folders too) in the order of their names.

    Args:
        counts: grows by what was skipped or taken otherwise than written.
        texts_alone: yield texts without .ann too (for tagging); otherwise they are left out, counted.

    Raises:
        SlonikError: no such folder, nothing in it, an .ann without its .txt, text that is not UTF-8, a broken line,
            an annotation outside its text or on other words than it quotes (file and line are named).
    """
    root = Path(folder)
    if not root.is_dir():
        raise SlonikError(f"there is no folder {root}: give a folder of BRAT .txt and .ann files")
    texts = {path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob("*.txt")}
    marks = {path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob("*.ann")}
    if not marks and not (texts and texts_alone):
        raise SlonikError(f"{root} holds no .ann file: give a folder of BRAT .txt and .ann files")
    lonely = sorted(set(marks) - set(texts))
    if lonely:
        raise SlonikError(f"{marks[lonely[0]]} has no text: {lonely[0]}.txt is missing beside it")
    for name in sorted(texts):
        if name in marks:
            yield _document(name, texts[name], marks[name], counts)
        elif texts_alone:
            yield Document(name, read_whole(texts[name]))
        else:
            counts["texts without an .ann file left out"] += 1


def read_whole(path: Path) -> str:
    """The text of a file, line ends as they are.

    Raises:
        SlonikError: the file cannot be read or is not UTF-8.
    """
    try:
        content = path.read_bytes()
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        guess = guess_encoding(content)
        hint = f"; it looks like {guess.replace('_', '-')}" if guess else ""
        raise SlonikError(f"{path}, line {line}: not UTF-8{hint}; convert the file to UTF-8 first") from None
    except OSError as error:
        raise SlonikError(f"cannot read {path}: {error.strerror or error}") from None


def _document(name: str, text_path: Path, ann_path: Path, counts: Counts) -> Document:
    text, lines = read_whole(text_path), tuple(read_whole(ann_path).split("\n"))
    if not text:
        counts["empty texts"] += 1
    return Document(name, text, spans_of(lines, text, ann_path, counts), lines)


def spans_of(lines: Iterable[str], text: str, path: Path | str, counts: Counts) -> tuple[Span, ...]:
    """Spans of the text-bound annotations among .ann `lines`, sorted; raises as `read_brat`."""
    lines = [line.rstrip("\r").removeprefix("\ufeff") for line in lines]
    if strange := sum(bool(line.strip()) and line[0] not in _KINDS for line in lines):
        counts["lines of .ann files that are no annotation"] += strange
    names = Counter(found[1] for line in lines if (found := _NAME.match(line)))
    if again := names.total() - len(names):
        counts[NAMED_TWICE] += again
    entries = list(_entries(lines, path))
    way = fitting(text, [entry.stretch for entry in entries])
    if way is None:
        raise SlonikError(_mismatch(next(one for one in entries if wrong(text, one.stretch, points(text))), text, path))
    if way.name:
        counts[f"files with offsets that {way.name}: converted"] += 1
    spans = set()
    for entry in entries:
        if len(entry.fragments) > 1:
            counts[COVERED] += 1
        places = [way.place(fragment) for fragment in entry.fragments]
        spans.add(Span(min(start for start, _ in places), max(end for _, end in places), entry.label))
    if len(spans) < len(entries):
        counts["annotations repeated on the same words with the same label"] += len(entries) - len(spans)
    return tuple(sorted(spans))


def _entries(lines: Iterable[str], path: Path | str) -> Iterator[_Entry]:
    for number, line in enumerate(lines, start=1):
        if not line.startswith("T"):
            continue
        name, _, rest = line.partition("\t")
        kind, tab, words = rest.partition("\t")
        label, _, places = kind.strip().partition(" ")
        try:
            fragments = tuple((int(a), int(b)) for a, b in (part.split() for part in places.split(";")))
        except ValueError:
            raise SlonikError(
                f"{path}, line {number}: {line[:80]!r} is not a text-bound annotation; "
                "it must be NAME, tab, LABEL START END, tab, words"
            ) from None
        if any(start >= end or start < 0 for start, end in fragments):
            raise SlonikError(f"{path}, line {number}: {name} goes from {places}: START must be below END, both from 0")
        yield _Entry(number, name, label, fragments, words if tab else None)


def _mismatch(entry: _Entry, text: str, path: Path | str) -> str:
    end = max(end for _, end in entry.fragments)
    start = min(start for start, _ in entry.fragments)
    where = f"{path}, line {entry.line}: {entry.name} {entry.label}"
    if end > len(text):
        return f"{where} ends at {end}, and the text has {len(text)} characters: is this the .ann of another text?"
    return (
        f"{where} quotes {(entry.words or '')[:60]!r}, but characters {start} to {end} of the text are "
        f"{text[start:end][:60]!r}: was the text changed after the annotation?"
    )


def write_brat(documents: Iterable[Document], folder: str | Path, counts: Counts) -> int:
    """Write a .txt and an .ann per document into `folder`; how many documents.

    Lines that came from BRAT go back as they were when they still say what the spans say. Otherwise, each span
    becomes a text-bound annotation; a confidence becomes a note on it. Documents of one id keep apart: the files of the
    second have "-2" after it.

    Raises:
        SlonikError: a full disk.
    """
    root = Path(folder)
    taken: set[str] = set()
    files: set[str] = set()
    folders: set[str] = set()
    for number, document in enumerate(documents, start=1):
        name = document.id
        if not _makes_file_name(name) or _stands_in_a_file(name, files, folders):
            name = f"document-{number}"
            counts["ids that make no file name replaced by a number"] += 1
        if name in taken:
            counts["documents with the id of an earlier one, whose files have a number more"] += 1
            name = next(new for more in itertools.count(2) if (new := f"{name}-{more}") not in taken)
        taken.add(name)
        files |= {f"{name}.txt", f"{name}.ann"}
        folders |= _folders_of(name)
        if document.unknown:
            counts["documents with stretches that nobody has annotated, which BRAT cannot say"] += 1
        write_bytes(root / f"{name}.txt", document.text.encode("utf-8", "replace"))
        write_bytes(root / f"{name}.ann", _ann(document, counts).encode("utf-8", "replace"))
    return len(taken)


def _makes_file_name(name: str) -> bool:
    """Whether every file system takes it, and as much as ".txt" and a number behind it."""
    parts = name.split("/")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    plain = not any(part.strip() in ("", ".", "..") for part in parts) and not set(name) & {"\\", "\0"}
    return plain and max(sizes) <= _LONGEST_NAME and sum(sizes) <= 4 * _LONGEST_NAME


def _folders_of(name: str) -> set[str]:
    """The folders that a name with slashes stands in: "a" and "a/b" of "a/b/c"."""
    parts = name.split("/")
    return {"/".join(parts[:count]) for count in range(1, len(parts))}


def _stands_in_a_file(name: str, files: set[str], folders: set[str]) -> bool:
    """Whether it needs a folder where an earlier document has a file, or a file where one has a folder."""
    return bool(_folders_of(name) & files) or not folders.isdisjoint((f"{name}.txt", f"{name}.ann"))


def _ann(document: Document, counts: Counts) -> str:
    if document.annotations:
        silent = Counts()
        bare = tuple(Span(span.start, span.end, span.label) for span in document.spans)
        if spans_of(document.annotations, document.text, f"{document.id}.ann", silent) == bare:
            return "\n".join(document.annotations)
        counts["documents whose relations and notes were left out, as their spans had changed"] += 1
    lines = []
    for number, span in enumerate(document.spans, start=1):
        words = _LINE_ENDS.sub(" ", document.text[span.start : span.end])
        label = "_".join(span.label.split())  # a space ends the label in an .ann
        if label != span.label:
            counts["labels with spaces written with _ instead"] += 1
        lines.append(f"T{number}\t{label} {span.start} {span.end}\t{words}\n")
        if span.confidence is not None:
            lines.append(f"#{number}\tAnnotatorNotes T{number}\tconfidence {span.confidence:.3f}\n")
    return "".join(lines)
