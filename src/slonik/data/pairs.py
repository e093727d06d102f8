"""Stream English-Russian translation pairs: TSV files (English, Russian, optional source) and gettext catalogues.

Does: .tsv and .txt (also .gz) with tab-separated columns, .po and .mo, folders and several of them, in file order. Of
catalogues (GNU gettext manual, "The Format of PO Files" and "The Format of GNU MO Files"), what programs show to their
users and people have translated: singular and plural taken apart, markup and accelerators cleaned.
Does not: filter by length, deduplicate or align anything (see `sampling`).
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.text.lines import numbered_lines

Pair = tuple[str, str]
#: Endings of the files that `read_catalogue` reads.
CATALOGUE_FORMATS = (".po", ".mo")

_MO_LITTLE, _MO_BIG = b"\xde\x12\x04\x95", b"\x95\x04\x12\xde"
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>")
_CYRILLIC = re.compile(r"[А-Яа-яЁё]")
_ACCELERATOR = re.compile(r"(?<!\w)[_&](?=\w)|(?<=\w)_(?=\w)")
_SPACE = re.compile(r"\s+")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def read_pairs(paths: str | Path | Sequence[str | Path]) -> Iterator[Pair]:
    """Iterate over (English, Russian) pairs; pairs with an empty side are skipped.

    Missing files and the first pair are checked at the call. Raises SlonikError for a missing file, a line with
    fewer than two columns, no pair at all, or what `lines.numbered_lines` and `read_catalogue` raise.
    """
    files = _pair_files([paths] if isinstance(paths, str | Path) else list(paths))
    pairs = itertools.chain.from_iterable(_file_pairs(path) for path in files)
    first = next(pairs, None)
    if first is None:
        names = ", ".join(str(path) for path in files[:3])
        raise SlonikError(f"no translation pair in {names}")
    return itertools.chain([first], pairs)


def _pair_files(given: list[str | Path]) -> list[Path]:
    """The files to read; folders give their .po, .mo and .tsv files."""
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix in CATALOGUE_FORMATS or _is_table(p))
            if not found:
                raise SlonikError(f"no translation pairs in {path}: no .tsv, .tsv.gz, .po or .mo file there")
            files.extend(found)
        elif path.exists():
            files.append(path)
        else:
            raise SlonikError(f"file of translation pairs not found: {path}")
    if not files:
        raise SlonikError("no file of translation pairs given")
    return files


def _is_table(path: Path) -> bool:
    return path.name.endswith((".tsv", ".tsv.gz"))


def _file_pairs(path: Path) -> Iterator[Pair]:
    """The pairs of one file, by its ending."""
    return read_catalogue(path) if path.suffix in CATALOGUE_FORMATS else _table_pairs(path)


def _table_pairs(path: Path) -> Iterator[Pair]:
    """English, Russian and ignored further columns, separated by tabs, without quoting."""
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) < 2:
            raise SlonikError(f"{path}, line {number}: no tab; a pair is English, a tab, Russian")
        english, russian = columns[0].strip(), columns[1].strip()
        if english and russian:
            yield english, russian


@dataclass
class _Entry:
    """One message: its English forms (singular, then plural if any) and its translations by plural index."""

    sources: list[str] = field(default_factory=list)
    translations: dict[int, str] = field(default_factory=dict)
    fuzzy: bool = False

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Singular with form 0; plural with the last form, which in Russian goes with 5, 6, ... things."""
        if self.fuzzy or not self.sources or not self.sources[0] or not self.translations:
            return
        yield self.sources[0], self.translations.get(0, "")
        if len(self.sources) > 1 and len(self.translations) > 1:
            yield self.sources[1], self.translations[max(self.translations)]


def clean_message(text: str) -> str:
    """Interface text as a reader sees it: no tags, no accelerator marks (`_File`, `&File`), single spaces."""
    text = _TAG.sub(" ", text)
    marks = text.count("_") + text.replace("&amp;", "").count("&")
    if marks == 1:
        # Two or more marks are part of a name such as `max_line_bytes` or `A & B & C`, not an accelerator.
        text = _ACCELERATOR.sub("", text)
    return _SPACE.sub(" ", text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")).strip()


def read_catalogue(path: Path, *, russian: bool = True) -> Iterator[tuple[str, str]]:
    """Iterate over the cleaned (English, Russian) pairs of one catalogue.

    Left out: fuzzy, obsolete and untranslated entries, translations equal to the original and, unless the catalogue is
    of another language (`russian` is False), without a Cyrillic letter. Raises SlonikError for a file that is not a
    catalogue of its kind.
    """
    entries = _mo_entries(path) if path.suffix == ".mo" else _po_entries(path)
    for entry in entries:
        for source, target in entry.pairs():
            source, target = clean_message(source), clean_message(target)
            if source and target and source != target and (not russian or _CYRILLIC.search(target)):
                yield source, target


def _mo_entries(path: Path) -> Iterator[_Entry]:
    """Entries of a compiled catalogue: two tables of (length, offset), NUL between plural forms."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SlonikError(f"cannot read {path}: {error.strerror or error}") from error
    if data[:4] not in (_MO_LITTLE, _MO_BIG):
        raise SlonikError(f"{path} is not a compiled gettext catalogue (.mo)")
    order = "<" if data[:4] == _MO_LITTLE else ">"
    try:
        count, originals, translations = struct.unpack_from(f"{order}8x3I", data)
        for index in range(count):
            source = _mo_string(data, order, originals + 8 * index)
            target = _mo_string(data, order, translations + 8 * index)
            message = source.rpartition("\x04")[2]  # a context, if any, stands before \x04
            yield _Entry(message.split("\x00"), dict(enumerate(target.split("\x00"))))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise SlonikError(f"{path} is damaged or not in UTF-8 ({error})") from error


def _mo_string(data: bytes, order: str, position: int) -> str:
    length, offset = struct.unpack_from(f"{order}2I", data, position)
    if offset + length > len(data):
        raise IndexError("a string lies beyond the end of the file")
    return data[offset : offset + length].decode("utf-8")


def _po_entries(path: Path) -> Iterator[_Entry]:
    """Entries of a text catalogue; an entry ends where the next `msgid` or comment begins."""
    entry, target = _Entry(), ""
    for number, line in numbered_lines(path):
        line = line.strip()
        if line.startswith("#"):
            if entry.translations:
                yield entry
                entry, target = _Entry(), ""
            if line.startswith("#,") and "fuzzy" in line:
                entry.fuzzy = True
            continue
        keyword, _, rest = line.partition('"')
        keyword = keyword.strip()
        if keyword in ("msgid", "msgctxt") and entry.translations:
            yield entry
            entry = _Entry()
        if keyword:
            target = keyword
        if line:
            _append(entry, target, _unquote('"' + rest, path, number))
    if entry.translations:
        yield entry


def _append(entry: _Entry, target: str, text: str) -> None:
    """Add a quoted piece to the part of the entry that the keyword names."""
    if target == "msgid":
        entry.sources[:1] = [("".join(entry.sources[:1])) + text]
    elif target == "msgid_plural":
        entry.sources[1:] = [("".join(entry.sources[1:])) + text]
    elif target.startswith("msgstr"):
        index = int(target[7:-1]) if target.endswith("]") else 0
        entry.translations[index] = entry.translations.get(index, "") + text


def _unquote(quoted: str, path: Path, number: int) -> str:
    """The text of a C-like quoted string."""
    if len(quoted) < 2 or not quoted.endswith('"'):
        raise SlonikError(f"{path}, line {number}: not a line of a gettext catalogue (.po)")
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[1]), quoted[1:-1])
