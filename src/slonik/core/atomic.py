"""Writes that are either whole or not there.

A file is written under a temporary name in the same folder, flushed to disk, and renamed; a folder is filled
under a temporary name and renamed when complete. A crash leaves the old content, and at most a temporary
name that starts with a dot and tells which process wrote it; the next folder of the same name sweeps those of
processes that are gone. Nothing here knows what is written.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError, disk_error

_MARK = ".slonik-tmp-"


def temporary_beside(path: Path) -> Path:
    """A new hidden name beside `path` to write under."""
    return path.parent / f"{_MARK}{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}"


def sweep(path: Path) -> None:
    """Remove half-written things of the name of `path` whose writer, a process of this machine, is gone.

    It lists the folder: for things that are written seldom and are large.
    """
    if not path.parent.is_dir():
        return
    mine = f"{_MARK}{_machine()}-"
    for found in path.parent.glob(f"{mine}*"):
        process, _, rest = found.name[len(mine) :].partition("-")
        if rest[9:] != path.name or not process.isdigit() or _runs(int(process)):
            continue
        if found.is_dir():
            shutil.rmtree(found, ignore_errors=True)
        else:
            found.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@functools.cache
def _machine() -> str:
    """Eight letters for this machine and its space of process numbers: on a shared disk others write too."""
    space = Path("/proc/self/ns/pid")
    number = str(space.readlink()) if space.is_symlink() else ""
    return hashlib.sha256(f"{socket.gethostname()} {number}".encode()).hexdigest()[:8]


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` atomically; raises as `new_file`."""
    with new_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write UTF-8 text to `path` atomically; raises as `write_bytes`."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON with real letters (no \\u escapes) to `path` atomically."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Write a file of any size piece by piece; it appears at `path` only when the block ends without an error.

    Yields:
        A temporary path beside `path` to write to.

    Raises:
        SlonikError: full disk or no permission; the old content of `path` is intact.
    """
    target = Path(path)
    temporary = temporary_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise disk_error(error, target) from error
    finally:
        with suppress(OSError):  # a parent that is a file has nothing to sweep
            temporary.unlink()


@contextmanager
def new_folder(target: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Fill a folder that appears at `target` only when the block ends without an error.

    Args:
        target: the folder to make; its parents are made too.
        overwrite: replace a non-empty folder that is there; without it such a folder is refused.

    Yields:
        A temporary folder beside `target` to write into.

    Raises:
        SlonikError: the target exists, or the disk is full; the old folder is intact.
    """
    final = Path(target)
    if final.is_file():
        raise SlonikError(f"{final} is a file, not a folder: choose another --out")
    if final.is_dir() and any(final.iterdir()) and not overwrite:
        raise SlonikError(f"the folder {final} is there already and is not empty: choose another --out or remove it")
    final = final.absolute()
    sweep(final)
    temporary = temporary_beside(final)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _sync_tree(temporary)
        _swap(temporary, final)
    except OSError as error:
        if error.filename and not str(error.filename).startswith(str(temporary.parent)):
            raise
        raise disk_error(error, final) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(temporary: Path, final: Path) -> None:
    """Rename `temporary` to `final`; an old folder is moved aside first and put back if that fails."""
    if not final.exists():
        temporary.rename(final)
        sync_folder(final.parent)
        return
    aside = final.parent / f"{_MARK}{uuid.uuid4().hex[:8]}-old-{final.name}"
    final.rename(aside)
    try:
        temporary.rename(final)
    except OSError:
        aside.rename(final)
        raise
    sync_folder(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as stream:
                os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entry to disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
