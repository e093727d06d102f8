"""Files and folders that are either whole or not there, and readable by whom the umask says.

A file is written under a temporary name in the same folder, flushed to disk, and renamed; a folder is filled
under a temporary name and renamed when complete. A crash leaves the old content, and at most a temporary
name that starts with a dot and tells which process wrote it; the next folder of the same name sweeps those of
processes that are gone. A symbolic link stays one: what it points to is written. A device, a pipe or a socket is
written to, never replaced. Nothing here knows what is written.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from slonik.core.errors import SlonikError, disk_error

_MARK = ".slonik-tmp-"
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_CUT_SHORT = re.compile(r"^\d+ requested and \d+ written$")
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
_OLD = "old-"
_LONGEST_NAME = 200  # bytes: file systems take 255, and a temporary name has some 40 more
_DESCRIPTOR = re.compile(r"/(?:dev|proc/(\w+))/fd/(\d+)")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` as `new_file` does."""
    with new_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write UTF-8 text to `path` as `new_file` does; half a surrogate pair is written as its escape, as in JSON."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON with real letters (no \\u escapes) to `path` as `new_file` does."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Write a file of any size piece by piece; it appears at `path` only when the block ends without an error.

    Where `path` is a device, a pipe or a socket, what was written is copied to it at the end. A file that is replaced
    keeps its permissions; a new one has those that the umask leaves.

    Yields:
        A temporary path to write to.

    Raises:
        SlonikError: full disk, no permission, a parent that is a file; the old content of `path` is intact.
    """
    if is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / Path(path).name
            yield temporary
            with open(temporary, "rb") as content, _written(Path(path)), _stream(path) as stream:
                shutil.copyfileobj(content, stream)
        return
    target = real_target(path)
    temporary = temporary_beside(target)
    try:
        with _written(target):
            if target.is_symlink():
                raise SlonikError(f"cannot write {path}: {target} is a link that leads back to itself")
            target.parent.mkdir(parents=True, exist_ok=True)
        with _written(target):
            yield temporary
            old = stat.S_IMODE(target.stat().st_mode) if target.is_file() else None
            _let_read(temporary, old)
            with open(temporary, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(temporary, target)
            sync_folder(target.parent)
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
    check_new_folder(target, overwrite=overwrite)
    final = real_target(target)
    sweep(final)
    temporary = temporary_beside(final)
    try:
        with _written(final):
            temporary.mkdir(parents=True)
        with _written(final, only_in=temporary.parent):
            yield temporary
            _settle(temporary)
            _swap(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def copy_folder(source: str | Path, target: str | Path, *, overwrite: bool = False) -> Path:
    """Copy a whole folder to `target`, which is whole or absent; links in it are followed.

    Raises:
        SlonikError: as `new_folder`; or something in `source` cannot be read.
    """
    with new_folder(target, overwrite=overwrite) as folder:
        try:
            shutil.copytree(source, folder, dirs_exist_ok=True)
        except shutil.Error as error:
            name, _, why = error.args[0][0]
            raise SlonikError(f"cannot copy {name}: {why}") from None
    return Path(target)


def check_new_folder(target: str | Path, *, overwrite: bool = False) -> None:
    """Refuse, before any work, a folder that `new_folder` could not make in the end.

    Raises:
        SlonikError: it is there and not empty (unless `overwrite`), or is no folder; a parent is a file or may not be
            written to.
    """
    final = Path(target)
    with _written(final):
        if is_stream(final) or final.is_file():
            kind = "a file" if final.is_file() else "no file and no folder (a device, a pipe)"
            raise SlonikError(f"{final} is {kind}: choose another --out, a folder that is not there yet")
        if final.is_dir() and not overwrite and any(final.iterdir()):
            raise SlonikError(
                f"the folder {final} is there already and is not empty: choose another --out or remove it"
            )
        _check_parents(final, "make the folder", "choose another --out")


def check_new_file(path: str | Path) -> None:
    """Refuse, before any work, a file that `new_file` could not write in the end.

    Raises:
        SlonikError: it is a folder; a parent is a file or may not be written to.
    """
    file = Path(path)
    with _written(file):
        if file.is_dir():
            raise SlonikError(f"{file} is a folder: name a file to write")
        if not is_stream(file):
            _check_parents(file, "write", "choose another place")


def check_apart(target: str | Path, sources: Iterable[str | Path], *, replaced: bool = False) -> None:
    """Refuse a result that would take the place of something that is read, or lie in a folder that is.

    Args:
        replaced: a folder that is at `target` will be replaced: what is read may not lie in it.

    Raises:
        SlonikError: naming the two.
    """
    out = real_target(target)
    for path in sources:
        source = real_target(path)
        if source.exists() and not is_stream(source) and out.is_relative_to(source):
            place = "is read itself" if out == source else f"lies in {path}, which is read"
            raise SlonikError(f"{target} {place}: choose another --out")
        if replaced and source.exists() and source.is_relative_to(out):
            raise SlonikError(f"{target} holds {path}, which is read and would be replaced: choose another --out")


def _check_parents(path: Path, what: str, advice: str) -> None:
    target = real_target(path)
    if target.is_symlink():
        raise SlonikError(f"cannot {what} {path}: {target} is a link that leads back to itself; {advice}")
    target.exists()  # a name that is too long is told here
    parent = next((folder for folder in target.parents if folder.exists()), target)
    if not parent.is_dir():
        raise SlonikError(f"cannot {what} {path}: {parent} is a file; {advice}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise SlonikError(f"cannot {what} {path}: {parent} may not be written to; {advice}")


def is_stream(path: str | Path) -> bool:
    """Whether `path` (after links) is a device, a pipe, a socket, or an open file of this process by its number."""
    if _descriptor(path) is not None:
        return True
    try:
        kind = Path(path).stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def real_target(path: str | Path) -> Path:
    """Where `path` leads when all links are followed, absolute; what is there need not exist."""
    return Path(os.path.realpath(path))


def temporary_beside(path: Path, kind: str = "") -> Path:
    """A new hidden name beside `path` to write under."""
    return path.parent / f"{_MARK}{machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{kind}{_short(path.name)}"


def _short(name: str) -> str:
    """`name`, or a hash of it where a longer one would be too long for a name."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST_NAME else hashlib.sha256(encoded).hexdigest()[:32]


def sweep(path: Path) -> None:
    """Remove half-written things of the name of `path` whose writer, a process of this machine, is gone.

    What was at `path` and had been moved aside when its writer died is put back where nothing has come to its place.
    It lists the folder: for things that are written seldom and are large.
    """
    name = _short(path.name)
    for found, rest in _abandoned(path.parent):
        if rest == _OLD + name and not path.exists():
            found.rename(path)
        elif rest in (name, _OLD + name):
            _remove(found)


def sweep_folder(folder: Path) -> None:
    """Remove everything half-written in `folder`, which is the caller's own, whose writer is gone."""
    for found, _ in _abandoned(folder):
        _remove(found)


def is_half_written(path: Path) -> bool:
    """Whether its name says that it is being written, or was when its writer died."""
    return path.name.startswith(_MARK)


def _abandoned(folder: Path) -> list[tuple[Path, str]]:
    """What processes of this machine that are gone left half-written, and the names that it should have had."""
    mine = f"{_MARK}{machine()}-"
    # What is written into a half-written folder may be half-written beside it, with its name behind a mark of its own.
    marks = re.compile(rf"{re.escape(mine)}(\d+)-[0-9a-f]{{8}}-(?:{re.escape(mine)}\d+-[0-9a-f]{{8}}-)*")
    found = [(path, mark) for path in folder.glob(f"{mine}*") if (mark := marks.match(path.name))]
    return [(path, path.name[mark.end() :]) for path, mark in found if not runs(int(mark.group(1)))]


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def runs(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@functools.cache
def machine() -> str:
    """Eight letters for this machine and its space of process numbers: on a shared disk others write too."""
    space = Path("/proc/self/ns/pid")
    number = str(space.readlink()) if space.is_symlink() else ""
    return hashlib.sha256(f"{socket.gethostname()} {number}".encode()).hexdigest()[:8]


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entry to disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def folder_size(folder: Path) -> int:
    """Bytes of all files under `folder`."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())


class Lock:
    """The right of one process to write somewhere: a file that says which process has it.

    A lock of a process of this machine that is gone is taken over. One of another machine is only where it is of the
    same job (`job`): the scheduler has started the job again elsewhere, and the process is gone.

    Args:
        path: the file; its folder is made.
        what: what is written there, for the sentence.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self._what = path, what
        self._key = uuid.uuid4().hex

    def take(self) -> None:
        """Take the lock.

        Raises:
            SlonikError: another process has it, or the file cannot be written.
        """
        with _written(self.path):
            real_target(self.path.parent).mkdir(parents=True, exist_ok=True)
            with self._guarded() as stream:
                self._check(stream.read())
                stream.seek(0)
                stream.truncate()
                mine = {"machine": machine(), "host": socket.gethostname(), "key": self._key, "job": job()}
                stream.write(json.dumps(mine | {"process": os.getpid(), "started": _started(os.getpid())}))

    def release(self) -> None:
        """Give it back; nothing happens where it is another's."""
        with suppress(OSError, ValueError), self._guarded() as stream:
            if json.loads(stream.read())["key"] == self._key:
                self.path.unlink()

    def _check(self, content: str) -> None:
        try:
            holder = json.loads(content)
            process, host, here = int(holder["process"]), str(holder["host"]), holder["machine"] == machine()
        except (ValueError, KeyError, TypeError):
            return  # its writer died before it was whole
        if here and not (runs(process) and holder.get("started") in (None, _started(process))):
            return
        if not here and holder.get("job") is not None and holder.get("job") == job():
            return
        where = "" if here else f" on {host}"
        advice = "wait for it" if here else f"wait for it, or remove {self.path} if it is gone"
        raise SlonikError(
            f"{self._what} is being written by process {process}{where}: {advice}, or choose another --out"
        )

    @contextmanager
    def _guarded(self) -> Iterator[IO[str]]:
        """The open file, while no other process reads and writes it so."""
        while True:
            with open(self.path, "a+", encoding="utf-8") as stream:
                with suppress(ImportError, OSError):  # no such locks here: the content alone has to do
                    import fcntl

                    fcntl.flock(stream, fcntl.LOCK_EX)
                with suppress(FileNotFoundError):
                    if os.fstat(stream.fileno()).st_ino == self.path.stat().st_ino:
                        stream.seek(0)
                        yield stream
                        return
            # it was removed between opening and locking: once more


def job() -> str | None:
    """The name of the job that this process is of, which stays when a scheduler or torchrun starts it again.

    `$SLONIK_JOB`, else Slurm's number of the job, else torchrun's `--rdzv-id`; None outside of any.
    """
    for variable in ("SLONIK_JOB", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID"):
        if (value := os.environ.get(variable)) and value != "none":  # what torchrun calls a run without a name
            return f"{variable}={value}"
    return None


def _started(process: int) -> str | None:
    """When a process began, in the kernel's ticks: numbers of processes come again. None where it is not told."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _descriptor(path: str | Path) -> int | None:
    """The number of this process's open file that `path` names (/dev/stdout, /dev/fd/3), links followed."""
    place = Path.cwd() / path
    for _ in range(40):
        if str(place) in _STANDARD:
            return _STANDARD[str(place)]
        found = _DESCRIPTOR.fullmatch(str(place))
        if found and found.group(1) in (None, "self", str(os.getpid())):
            return int(found.group(2))
        if not place.is_symlink():
            return None
        place = place.parent / place.readlink()
    return None


@contextmanager
def _stream(path: str | Path) -> Iterator[IO[bytes]]:
    number = _descriptor(path)
    if number is not None:
        for stream in (sys.stdout, sys.stderr):  # what was printed before comes before
            stream.flush()
        with os.fdopen(os.dup(number), "wb") as opened:
            yield opened
    else:
        with open(path, "r+b" if stat.S_ISBLK(Path(path).stat().st_mode) else "wb") as opened:
            yield opened


@contextmanager
def _written(target: Path, *, only_in: Path | None = None) -> Iterator[None]:
    """Errors of the disk as sentences about `target`; with `only_in`, those of other folders pass."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if only_in is not None and error.filename and not str(error.filename).startswith(str(only_in)):
            raise
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            file = next((parent for parent in target.parents if parent.exists() and not parent.is_dir()), None)
            if file is not None:
                why = f"{file} is a file, not a folder"
                raise SlonikError(f"cannot write {target}: {why}; choose another place") from None
        raise disk_error(_told(error) or error, target) from error
    except Exception as error:
        if isinstance(error, SlonikError) or (found := _told(error)) is None:
            raise
        raise disk_error(found, target) from error


def _told(error: Exception) -> OSError | None:
    """The error of the disk that a library tells in words of its own: safetensors, tokenizers, numpy."""
    number = _OS_ERROR.search(str(error))
    if number is None and not _CUT_SHORT.search(str(error)):
        return None
    found = int(number.group(1)) if number else errno.ENOSPC
    return OSError(found, os.strerror(found)) if found in _DISK_ERRORS else None


def _umask() -> int:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _let_read(path: Path, mode: int | None = None) -> None:
    """Give a file or folder the permissions that the umask leaves (or `mode`); a file stays executable."""
    now = path.stat().st_mode
    if mode is None:
        kept = 0o777 if stat.S_ISDIR(now) or now & stat.S_IXUSR else 0o666
        mode = stat.S_IMODE(now) & ~0o777 | kept & ~_umask()
    if stat.S_IMODE(now) != mode:
        path.chmod(mode)


def _settle(folder: Path) -> None:
    """Permissions by the umask and content on the disk, for all of a folder."""
    _let_read(folder)
    for path in folder.rglob("*"):
        if path.is_symlink():
            continue
        _let_read(path)
        if path.is_file():
            with open(path, "rb") as stream:
                os.fsync(stream.fileno())


def _swap(temporary: Path, final: Path) -> None:
    """Rename `temporary` to `final`; an old folder is moved aside first and put back if that fails."""
    if not final.exists():
        temporary.rename(final)
        sync_folder(final.parent)
        return
    aside = temporary_beside(final, _OLD)
    final.rename(aside)
    try:
        temporary.rename(final)
    except OSError:
        aside.rename(final)
        raise
    sync_folder(final.parent)
    shutil.rmtree(aside, ignore_errors=True)
