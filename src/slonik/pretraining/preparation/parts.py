"""Which parts a corpus is prepared in: bounded pieces of its files, the same ones whatever engine reads them.

Sources are what `documents.read_documents` reads, and whatever fsspec opens: `s3://BUCKET/FOLDER`,
`hf://datasets/OWNER/NAME/data/*.parquet`, `gs://...`. Small files share a part; plain text and JSON Lines larger than
a part are cut at line ends (text with a border of blank lines at such), so one huge file keeps many workers busy.
Packed files, tables, text whose documents are so many lines, and data sets by `hub:NAME` are not cut.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.identity import HUB
from slonik.data.documents import Border, CorpusDocument, read_documents
from slonik.data.readers import FORMATS, corpus_files, has_columns, is_ranges

PART_BYTES = 128 * 1024 * 1024
_PACKED = 4  # text is so many times larger than its .gz or .parquet, for the size of parts
_CUT = (".txt", ".text", "", ".jsonl", ".ndjson")
_BLOCK = 1 << 20
_BLANK = re.compile(rb"\n[ \t\r]*\n")
_EMPTY = "the corpus is empty"


@dataclass(frozen=True)
class Piece:
    """A file, or the bytes `start` .. `end` - 1 of it.

    Attributes:
        url: path, fsspec's URL, or hub:NAME.
        stamp: what tells that it has changed: size and time, or a store's own mark.
        end: None = to the end.
        ranges: the table of sources beside it, if there is one.
    """

    url: str
    stamp: str
    start: int = 0
    end: int | None = None
    ranges: str | None = None

    @property
    def name(self) -> str:
        """Its name in sentences."""
        return self.url if self.end is None and not self.start else f"{self.url} from byte {self.start:,}"


@dataclass(frozen=True)
class Part:
    """Pieces that one task reads, in order."""

    pieces: tuple[Piece, ...]

    @property
    def key(self) -> str:
        """Changes when what it reads does."""
        return sha256_json([asdict(piece) for piece in self.pieces])

    @property
    def name(self) -> str:
        """Its name in sentences."""
        more = f" and {len(self.pieces) - 1:,} more" if len(self.pieces) > 1 else ""
        return self.pieces[0].name + more


@dataclass(frozen=True)
class _File:
    url: str
    size: int
    stamp: str
    ranges: str | None = None


def find_parts(sources: tuple[str, ...], *, border: Border = "line", part_bytes: int = PART_BYTES) -> list[Part]:
    """The parts of a corpus, in its order.

    Raises:
        SlonikError: a source that is not there, cannot be reached, or holds no file that is read.
        MissingExtra: the package for a URL's protocol is not installed.
    """
    parts: list[Part] = []
    gathered: list[Piece] = []
    room = part_bytes

    def close() -> None:
        nonlocal gathered, room
        if gathered:
            parts.append(Part(tuple(gathered)))
        gathered, room = [], part_bytes

    for file in (file for source in sources for file in _files(source)):
        weight = file.size * (1 if _ending(file.url) in _CUT and not file.url.endswith(".gz") else _PACKED)
        if weight > room:
            close()
        cuts = _cuts(file, border, part_bytes) if weight > part_bytes else []
        if cuts:
            ends = [*cuts, file.size]
            for start, end in zip([0, *cuts], ends, strict=True):
                parts.append(Part((Piece(file.url, file.stamp, start, end),)))
            continue
        gathered.append(Piece(file.url, file.stamp, ranges=file.ranges))
        room -= weight
        if room <= 0 or file.url.startswith(HUB):
            close()
    close()
    return parts


def read_part(
    part: Part, *, column: str | None, border: Border, keep_whitespace: bool = False
) -> Iterator[CorpusDocument]:
    """The documents of a part, in order; what is not a whole file of this machine is fetched first.

    Raises:
        SlonikError: what `read_documents` raises, with the names of the sources.
    """
    for piece in part.pieces:
        if piece.url.startswith(HUB):
            yield from read_documents(piece.url, column=column, border=border)
            continue
        with _local(piece) as path:
            try:
                own = column if has_columns(path) else None
                yield from read_documents(path, column=own, border=border, keep_whitespace=keep_whitespace)
            except SlonikError as error:
                if _EMPTY not in str(error):  # one empty file among several is no mistake
                    raise SlonikError(str(error).replace(str(path), piece.name)) from None


def filesystem(url: str) -> tuple[Any, str]:
    """(fsspec's file system, path in it) of a path or URL.

    Raises:
        SlonikError: no such protocol, or the store cannot be reached.
        MissingExtra: the package for its protocol is not installed.
    """
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra("preparing corpora at size", "scale", "fsspec") from error
    try:
        opened: tuple[Any, str] = fsspec.core.url_to_fs(url)
        return opened
    except ImportError as error:
        protocol = url.split("://", 1)[0]
        raise SlonikError(f"{url}: no package for {protocol}:// is installed ({error}): pip install it") from None
    except ValueError as error:
        raise SlonikError(f"{url}: {error}") from None


def is_remote(url: str) -> bool:
    """Whether it is fsspec's URL of something that is no folder of this machine."""
    return "://" in url and not url.startswith("file://")


def _files(source: str) -> Iterator[_File]:
    if source.startswith(HUB):
        yield _File(source, 0, source)
    elif is_remote(source):
        yield from _remote_files(source)
    else:
        for path in corpus_files(source.removeprefix("file://")):
            facts = path.stat()
            stem = Path(path.name.removesuffix(".gz")).stem
            ranges = path.with_name(f"{stem}.ranges.tsv")
            found = ranges.stat() if ranges.is_file() else None
            beside = f" {found.st_size} {found.st_mtime_ns}" if found else ""
            stamp = f"{facts.st_size} {facts.st_mtime_ns}{beside}"
            yield _File(str(path), facts.st_size, stamp, str(ranges) if found else None)


def _remote_files(source: str) -> Iterator[_File]:
    system, path = filesystem(source)
    try:
        if any(sign in path for sign in "*?["):
            found = system.glob(path, detail=True)
        else:
            found = system.find(path, detail=True)  # of a file: itself
    except Exception as error:  # of many libraries: no rights, no such bucket, no network
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SlonikError(f"cannot list {source} ({reason[:200]})") from None
    files = {name: facts for name, facts in found.items() if facts.get("type") == "file"}
    read = [name for name in files if _ending(name) in FORMATS and not is_ranges(name)]
    if not read:
        raise SlonikError(f"no text file in {source}; files that can be read: {', '.join(FORMATS)} (.gz too)")
    for name in sorted(read, key=lambda name: PurePosixPath(name).parts):
        place = PurePosixPath(name)
        ranges = str(place.with_name(PurePosixPath(place.name.removesuffix(".gz")).stem + ".ranges.tsv"))
        beside = str(system.unstrip_protocol(ranges)) if ranges in files else None
        size = int(files[name].get("size") or 0)
        yield _File(str(system.unstrip_protocol(name)), size, f"{size} {system.ukey(name)}", beside)


def _ending(url: str) -> str:
    """The format ending of a name, without `.gz`."""
    return PurePosixPath(url.removesuffix(".gz")).suffix.lower()


def _cuts(file: _File, border: Border, part_bytes: int) -> list[int]:
    """Where a large file may be cut: positions after line ends, or after blank lines."""
    kind = _ending(file.url)
    plain = kind not in (".jsonl", ".ndjson")
    if file.url.endswith(".gz") or kind not in _CUT or file.ranges or (plain and border not in ("line", "blank")):
        return []
    cuts: list[int] = []
    system, path = filesystem(file.url)
    with system.open(path, "rb") as stream:
        for wanted in range(part_bytes, file.size, part_bytes):
            if cuts and cuts[-1] >= wanted:
                continue
            place = _border(stream, wanted, blank=plain and border == "blank")
            if place is not None and place < file.size:
                cuts.append(place)
    return cuts


def _border(stream: Any, wanted: int, *, blank: bool) -> int | None:
    """The first place from `wanted` on where a line begins (after a blank one); None where there is none."""
    stream.seek(wanted)
    before, start = b"", wanted
    while block := stream.read(_BLOCK):
        text = before + block
        found = _BLANK.search(text) if blank else re.search(rb"\n", text)
        if found:
            return start + found.end()
        keep = len(text) - text.rfind(b"\n") if blank and b"\n" in text else 0
        before, start = text[len(text) - keep :], start + len(text) - keep
    return None


@contextlib.contextmanager
def _local(piece: Piece) -> Iterator[Path]:
    """A file of this machine that holds the piece."""
    if not is_remote(piece.url) and piece.end is None:
        yield Path(piece.url)
        return
    system, path = filesystem(piece.url)
    name = PurePosixPath(path).name
    with tempfile.TemporaryDirectory(prefix="slonik-part-") as folder:
        place = Path(folder) / name
        try:
            if piece.end is None:
                system.get_file(path, str(place))
                if piece.ranges:
                    system.get_file(filesystem(piece.ranges)[1], str(place.with_name(PurePosixPath(piece.ranges).name)))
            else:
                _copy(system, path, piece, place)
        except Exception as error:  # of many libraries
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise SlonikError(f"cannot fetch {piece.name} ({reason[:200]})") from None
        yield place


def _copy(system: Any, path: str, piece: Piece, place: Path) -> None:
    assert piece.end is not None
    left = piece.end - piece.start
    with system.open(path, "rb") as source, open(place, "wb") as target:
        source.seek(piece.start)
        while left > 0 and (block := source.read(min(left, _BLOCK))):
            target.write(block)
            left -= len(block)
    if left:
        raise SlonikError(f"{piece.url} has become shorter")
