"""Benchmark data: where each file comes from, whether it is here, and getting it.

`sources.tsv` beside this module names every file of every suite with its URL, commit, SHA-256 and licence. A file
goes to `<data folder>/<suite>/<file>` under its original name. A known hash is checked after the download; an
unknown one is pinned in the suite's `pins.json` at the first download and checked from then on. A file that is
there already is never replaced: with another hash it is used as it is, and callers are told its hash. Nothing is
downloaded unless `fetch` is called; parsing the files is the business of each benchmark.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import stat
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from slonik.core.errors import SlonikError, disk_error, lookup
from slonik.core.files import new_folder, sync_folder, write_json
from slonik.core.hashing import sha256_file
from slonik.core.paths import data_dir
from slonik.core.progress import Bar, progress_bar
from slonik.core.version import __version__

PINS = "pins.json"
_TABLE = Path(__file__).with_name("sources.tsv")
_TIMEOUT_SECONDS = 30
_ATTEMPTS = 3
_BLOCK_BYTES = 1 << 18
_LARGEST_DOWNLOAD = 2 << 30
_LARGEST_CONTENT = 4 << 30
_IGNORED = ("__MACOSX", ".DS_Store")

# What of an archive goes where: (path inside it, without its top folder) -> path in the suite's folder.
_LAYOUTS: dict[str, dict[str, str]] = {
    "seccoll": {"seccoll/": "", "folds/": "folds/"},
    "nerel": {"NEREL-v1.1/": ""},
    "morocco": {"bench/data/": ""},
    "russian_superglue": {"": ""},
}


@dataclass(frozen=True)
class Source:
    """One row of `sources.tsv`.

    Attributes:
        suite: benchmark, and the folder's name.
        file: original file name; in brackets for an archive that is unpacked, "(NAME/)" into a folder of its own.
        url: where it is downloaded from.
        commit: revision that the URL is pinned to.
        sha256: expected hash of the download, None where it is not known.
        licence: as its publisher states it.
    """

    suite: str
    file: str
    url: str
    commit: str
    sha256: str | None
    licence: str

    @property
    def is_archive(self) -> bool:
        """Whether the download is unpacked into the suite's folder."""
        return self.file.startswith("(")

    @property
    def subfolder(self) -> str:
        """Folder inside the suite's that an archive of a part goes into: "TERRa" for "(TERRa/)", else ""."""
        name = self.file.strip("()")
        return name.removesuffix("/") if self.is_archive and name.endswith("/") else ""


@dataclass(frozen=True)
class LocalFile:
    """A data file on this machine.

    Attributes:
        path: where it is.
        sha256: hash of what is there.
        expected: published or pinned hash, None where none is known.
    """

    path: Path
    sha256: str
    expected: str | None

    @property
    def is_original(self) -> bool:
        """False where the hash is known and another."""
        return self.expected in (None, self.sha256)


@dataclass(frozen=True)
class Fetched:
    """What `fetch` did about one source.

    Attributes:
        source: the row.
        path: the file, or the folder of an unpacked archive.
        status: "downloaded", "present", or "other" (present with another hash, left alone).
        sha256: hash of the file or of the archive; None for an unpacked archive that was there before.
        pinned_now: the hash was not known before and is pinned from now on.
    """

    source: Source
    path: Path
    status: str
    sha256: str | None
    pinned_now: bool = False


@cache
def sources() -> dict[str, tuple[Source, ...]]:
    """Every suite's files, in the order of the table."""
    grouped: dict[str, list[Source]] = {}
    with open(_TABLE, encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            known = None if row["sha256"].startswith("unknown") else row["sha256"]
            source = Source(row["suite"], row["file"], row["url"], row["commit"], known, row["licence"])
            grouped.setdefault(source.suite, []).append(source)
    return {suite: tuple(rows) for suite, rows in grouped.items()}


def find_source(suite: str, file: str) -> Source:
    """The row of one file.

    Raises:
        SlonikError: unknown suite or file.
    """
    rows = lookup(suite, sources(), "suite")
    return lookup(file, {row.file: row for row in rows}, f"file of {suite}")


def locate(suite: str, file: str, folder: Path) -> LocalFile:
    """A data file that is already in the data folder `folder`, with its hash.

    Raises:
        SlonikError: it is not there; the sentence names the file, its URL and the folder to put it in.
    """
    source = find_source(suite, file)
    path = folder / suite / file
    if not path.is_file():
        raise SlonikError(_missing(source, folder))
    return LocalFile(path, sha256_file(path), source.sha256 or _pins(folder / suite).get(file))


def is_present(suite: str, file: str, folder: Path) -> bool:
    """Whether the data folder `folder` has the file."""
    return (folder / suite / file).is_file()


def fetch(suite: str, folder: Path, *, on_result: Callable[[Fetched], None] | None = None) -> list[Fetched]:
    """Bring every file of a suite into `folder / suite`; what is there already stays.

    Args:
        folder: the data folder.
        on_result: called after each file, for a caller that reports as it goes.

    Raises:
        SlonikError: unknown suite; no connection (the sentence names the file, its URL and the folder); a download
            whose hash is not the expected one; a full disk. Files that arrived before the error stay.
    """
    results = []
    for source in lookup(suite, sources(), "suite"):
        result = _fetch_archive(source, folder / suite) if source.is_archive else _fetch_file(source, folder / suite)
        results.append(result)
        if on_result is not None:
            on_result(result)
    return results


def _fetch_file(source: Source, folder: Path) -> Fetched:
    path = folder / source.file
    expected = source.sha256 or _pins(folder).get(source.file)
    if path.is_file():
        found = sha256_file(path)
        return Fetched(source, path, "present" if expected in (None, found) else "other", found)
    temporary = _download(source, folder)
    try:
        found = _check(temporary, source, expected)
        os.replace(temporary, path)
        sync_folder(folder)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)
    if expected is None:
        _pin(folder, source, found)
    return Fetched(source, path, "downloaded", found, pinned_now=expected is None)


def _fetch_archive(source: Source, folder: Path) -> Fetched:
    pinned = _pins(folder).get(source.file)
    target = folder / source.subfolder
    if target.is_dir() and any(path.name != PINS for path in target.iterdir()):
        return Fetched(source, target, "present", pinned)
    expected = source.sha256 or pinned
    temporary = _download(source, folder.parent)
    try:
        found = _check(temporary, source, expected)
        _unpack(temporary, target, _LAYOUTS.get(source.suite, {"": ""}))
    finally:
        temporary.unlink(missing_ok=True)
    _pin(folder, source, found)
    return Fetched(source, target, "downloaded", found, pinned_now=expected is None)


def _check(path: Path, source: Source, expected: str | None) -> str:
    found = sha256_file(path)
    if expected not in (None, found):
        raise SlonikError(
            f"{source.file} from {source.url} has sha256 {found}, expected {expected}: it was not kept; "
            "try again later, or put the right file in place yourself"
        )
    return found


def _pins(folder: Path) -> dict[str, str]:
    """Hashes pinned at earlier downloads: file -> sha256."""
    try:
        content = json.loads((folder / PINS).read_text(encoding="utf-8"))
        return {str(file): str(entry["sha256"]) for file, entry in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SlonikError(f"{folder / PINS} is damaged ({error}): remove it and fetch again") from None


def _pin(folder: Path, source: Source, found: str) -> None:
    path = folder / PINS
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content[source.file] = {"sha256": found, "url": source.url}
    write_json(path, content)


def fetch_command(suite: str, folder: str | Path) -> str:
    """The command that gets a suite's files into the data folder `folder`, as a user would type it."""
    elsewhere = Path(folder) != data_dir()
    return f"slonik fetch {suite}" + (f" --data-dir {shlex.quote(str(folder))}" if elsewhere else "")


def _missing(source: Source, folder: Path) -> str:
    return (
        f"{source.file} of {source.suite} is not in {folder / source.suite}: "
        f"run `{fetch_command(source.suite, folder)}`, "
        f"or download {source.url} yourself and put it there"
    )


def _download(source: Source, folder: Path) -> Path:
    """Download to a temporary file in `folder`; the caller checks and renames it."""
    temporary = folder / f".slonik-tmp-{uuid.uuid4().hex}"
    reason = ""
    for attempt in range(_ATTEMPTS):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _transfer(source, temporary)
            return temporary
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code < 500:
                break
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = str(getattr(error, "reason", error))
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise disk_error(error, folder) from error
        temporary.unlink(missing_ok=True)
        if attempt + 1 < _ATTEMPTS:
            time.sleep(0.5 * 2**attempt)
    raise SlonikError(
        f"cannot download {source.file} of {source.suite} ({reason}): get {source.url} on a machine with a "
        f"connection and put {'its content' if source.is_archive else 'it'} into {_destination(source, folder)}"
    )


def _destination(source: Source, folder: Path) -> Path:
    return folder / source.suite / source.subfolder if source.is_archive else folder


def _transfer(source: Source, path: Path) -> None:
    if not source.url.startswith(("https://", "http://")):
        raise SlonikError(f"{source.url} is not an http(s) address: mend sources.tsv")
    request = urllib.request.Request(source.url, headers={"User-Agent": f"slonik/{__version__}"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
        size = int(response.headers.get("Content-Length") or 0)
        with open(path, "wb") as stream, progress_bar(f"{source.suite}/{source.file}", size or None) as bar:
            received = _copy(response.read, stream.write, source, bar)
            stream.flush()
            os.fsync(stream.fileno())
    if size and received != size:
        raise ConnectionError(f"the connection broke after {received} of {size} bytes")


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], int], source: Source, bar: Bar) -> int:
    received = 0
    while block := read(_BLOCK_BYTES):
        received += len(block)
        if received > _LARGEST_DOWNLOAD:
            raise SlonikError(f"{source.url} sends more than {_LARGEST_DOWNLOAD} bytes: it was not kept")
        write(block)
        bar.advance(len(block))
    return received


def _unpack(archive: Path, folder: Path, layout: Mapping[str, str]) -> None:
    """Unpack a zip archive into `folder`, which must be empty or absent, without trusting it.

    A member may not leave the folder, be a link, or make the whole larger than a limit; the folder appears only when
    all of it is there.

    Args:
        layout: prefix inside the archive, without its single top folder -> prefix in `folder`; members under no
            prefix are left out; {"": ""} keeps all.

    Raises:
        SlonikError: not a zip archive, damaged, a member that points outside, a link, too large, or nothing in it
            fits the layout.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            chosen = _choose(content, layout)
            if not chosen:
                raise SlonikError(f"the archive for {folder} holds none of {sorted(layout)}: its layout has changed")
            _check_size(chosen, folder)
            pins = folder / "pins.json"
            kept = pins.read_bytes() if pins.exists() else None
            with new_folder(folder, overwrite=kept is not None) as temporary:
                for member, target in chosen.items():
                    path = temporary / target
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content.read(member))
                if kept is not None:
                    (temporary / "pins.json").write_bytes(kept)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise SlonikError(f"the archive for {folder} is not a sound zip file ({error}): fetch it again") from None


def _choose(content: zipfile.ZipFile, layout: Mapping[str, str]) -> dict[zipfile.ZipInfo, str]:
    files = [member for member in content.infolist() if not member.is_dir()]
    for member in files:
        _check_member(member)
    files = [member for member in files if not any(part in _IGNORED for part in member.filename.split("/"))]
    tops = {member.filename.split("/", 1)[0] for member in files}
    has_top = len(tops) == 1 and all("/" in member.filename for member in files)
    chosen = {}
    for member in files:
        name = member.filename.split("/", 1)[1] if has_top else member.filename
        for prefix, target in layout.items():
            if name.startswith(prefix):
                chosen[member] = target + name[len(prefix) :]
                break
    return chosen


def _check_member(member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename)
    unsafe = path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename
    if unsafe or stat.S_ISLNK(member.external_attr >> 16):
        raise SlonikError(f"the archive has an unsafe member {member.filename!r}: nothing was unpacked")


def _check_size(members: Mapping[zipfile.ZipInfo, str], folder: Path) -> None:
    size = sum(member.file_size for member in members)
    if size > _LARGEST_CONTENT:
        raise SlonikError(f"the archive for {folder} unpacks to {size} bytes, more than the limit {_LARGEST_CONTENT}")
