"""Translation pairs from gettext catalogues (.po, .mo): what programs show to their users, translated by people.

Does: parse both formats (GNU gettext manual, "The Format of PO Files" and "The Format of GNU MO Files"), leave out
fuzzy, obsolete and untranslated entries, take singular and plural forms apart, and clean markup and accelerators.
Does not: filter by length or language beyond asking that the translation has a Cyrillic letter.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.text.lines import numbered_lines

#: Endings of the files that `read_catalogue` reads.
CATALOGUE_FORMATS = (".po", ".mo")

_MO_LITTLE, _MO_BIG = b"\xde\x12\x04\x95", b"\x95\x04\x12\xde"
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>")
_CYRILLIC = re.compile(r"[А-Яа-яЁё]")
_ACCELERATOR = re.compile(r"(?<!\w)[_&](?=\w)|(?<=\w)_(?=\w)")
_SPACE = re.compile(r"\s+")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


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


def read_catalogue(path: Path) -> Iterator[tuple[str, str]]:
    """Iterate over the cleaned (English, Russian) pairs of one catalogue.

    Left out: fuzzy, obsolete and untranslated entries, translations without a Cyrillic letter or equal to the
    original. Raises SlonikError for a file that is not a catalogue of its kind.
    """
    entries = _mo_entries(path) if path.suffix == ".mo" else _po_entries(path)
    for entry in entries:
        for source, target in entry.pairs():
            source, target = clean_message(source), clean_message(target)
            if source and source != target and _CYRILLIC.search(target):
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
