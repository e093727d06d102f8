"""The frame of everything that makes something: where it is put, its steps, what they depend on, what is left.

`with Run(out, command=...) as run:` refuses an `out` that cannot be made before any work is done, keeps finished steps
beside it in `OUT.steps`, skips a step that was done with the same inputs by the same code, says what has changed where
one is made anew, writes the result whole or not at all, and removes the steps when it is there. What a step needs and
makes, the caller says; nothing here knows models.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from slonik.core.errors import SlonikError, disk_error
from slonik.core.files import (
    Lock,
    check_apart,
    check_new_folder,
    folder_size,
    is_half_written,
    new_folder,
    sweep_folder,
    write_json,
)
from slonik.core.hashing import sha256_json
from slonik.core.identity import HUB, Identity, code_identity
from slonik.core.passport import FILE_NAME, Step
from slonik.core.records import Record
from slonik.core.version import __version__

FORMAT = 2
STEP_RECORD = "step.json"
RUN_RECORD = "run.json"
_FORMAT_FILE = "format.json"
_LOCK = "lock"
_OWN_FILES = {_FORMAT_FILE, _LOCK}
GIVEN = "given"
"""Folder among the steps for inputs that were given in memory."""

_checking: ContextVar[bool] = ContextVar("checking", default=False)

Announce = Callable[[str], None]
"""Called with one line for the user."""
Inputs = Mapping[str, Any]
"""Name -> what decides: an `Identity`, or JSON values, configurations, paths, mappings and sequences of these."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a command of the library made; rooms add fields of their own.

    Attributes:
        checkpoint: the folder that was made, if one was.
        records: everything that was measured.
        report: the page or text that tells of it, if one was written.
        summary: what the command itself found (steps, losses, sizes).
        seconds: how long it took, steps that were done before included.
    """

    checkpoint: Path | None = None
    records: tuple[Record, ...] = ()
    report: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        """What was made, in a line each."""
        lines = [f"checkpoint: {self.checkpoint}"] if self.checkpoint else []
        lines += [f"report: {self.report}"] if self.report else []
        return "\n".join([*lines, f"{len(self.records)} records, {self.seconds:.1f} s"])


@dataclass(frozen=True)
class StepResult:
    """A step that has ended, now or in an earlier run.

    Attributes:
        folder: what it wrote.
        summary: what it returned.
        seconds: how long it took when it ran.
        fresh: whether it ran now.
    """

    folder: Path
    summary: dict[str, Any]
    seconds: float
    fresh: bool


def silent(line: str) -> None:
    """The announcer of a library function that nobody asked to speak: it drops the line."""


def say(line: str) -> None:
    """Announces on standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class Steps:
    """Steps of work in a folder, each done once: keyed by its inputs and its code, whole or absent.

    Args:
        folder: each step has a folder in it, named after the step and its key.
        announce: called with a line for the user before a step runs and when one is skipped.

    Raises:
        SlonikError: the folder is of another layout than this slonik's.
    """

    def __init__(self, folder: str | Path, announce: Announce = silent) -> None:
        self._folder = Path(folder)
        self.announce = announce
        self.done: list[StepResult] = []
        self._open: list[Path] = []
        self._check_format()

    @property
    def folder(self) -> Path:
        """Where the steps are; made when it is first asked for."""
        if not (self._folder / _FORMAT_FILE).exists():
            write_json(self._folder / _FORMAT_FILE, {"format": FORMAT, "slonik": __version__})
        return self._folder

    def step(
        self,
        name: str,
        inputs: Inputs,
        title: str,
        work: Callable[[Path], Mapping[str, Any]],
        *,
        code: Sequence[str] = (),
    ) -> StepResult:
        """Run `work(folder)` unless it was done with these inputs by this code; what it returns is kept as JSON.

        Args:
            name: of the step; letters of a file name.
            inputs: everything that decides what `work` makes.
            title: for the announcements.
            work: writes into the folder that it is given. `scratch()` in it is a folder that outlives interruptions.
            code: modules that decide the result, with all that they import; default: the one that `work` is from.

        Raises:
            SlonikError: what `work` raises, or a full disk; the step is then absent.
        """
        plain, meaning = _readable(inputs), code_identity(*code, work=work)
        key = sha256_json([name, _digests(inputs), str(meaning)])
        folder = self.folder / f"{name}-{key[:12]}"
        if (record := _record(folder, key)) is not None:
            self.announce(f"{title}: done before")
            shutil.rmtree(_unfinished(folder), ignore_errors=True)
            return self._ended(StepResult(folder, record["summary"], record["seconds"], fresh=False))
        content = {"step": name, "key": key, "inputs": plain, "code": meaning.parts}
        changes = self._changes(name, content)
        self.announce(f"{title} ..." + (f" (made anew: {changes})" if changes else ""))
        started = time.perf_counter()
        self._open.append(folder)
        try:
            with new_folder(folder, overwrite=True) as unfinished:
                summary = dict(work(unfinished))
                seconds = time.perf_counter() - started
                write_json(unfinished / STEP_RECORD, content | {"seconds": seconds, "summary": summary})
        finally:
            self._open.pop()
        shutil.rmtree(_unfinished(folder), ignore_errors=True)
        return self._ended(StepResult(folder, summary, seconds, fresh=True))

    def is_done(
        self, name: str, inputs: Inputs, work: Callable[[Path], Mapping[str, Any]], *, code: Sequence[str] = ()
    ) -> bool:
        """Whether `step` with these finds its work done: several processes that work on a step together must know."""
        key = sha256_json([name, _digests(inputs), str(code_identity(*code, work=work))])
        return _record(self.folder / f"{name}-{key[:12]}", key) is not None

    def scratch(self, name: str | None = None, inputs: Inputs | None = None, *, code: Sequence[str] = ()) -> Path:
        """A folder that outlives interruptions, for work that saves its own progress (training).

        Without arguments: that of the step that is running, removed when the step has ended. With a name and inputs
        (and code), of work that is no step: it stays until the run has ended.
        """
        if name is None:
            if not self._open:
                raise ValueError("no step is running: give a name and inputs")
            folder = _unfinished(self._open[-1])
        else:
            key = sha256_json([name, _digests(inputs or {}), str(code_identity(*code)) if code else ""])
            folder = _unfinished(self.folder / f"{name}-{key[:12]}")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _ended(self, result: StepResult) -> StepResult:
        self.done.append(result)
        return result

    def _changes(self, name: str, content: Mapping[str, Any]) -> str:
        """What differs from the newest step of this name; empty where there is none."""
        records = [path / STEP_RECORD for path in self._folder.glob(f"{name}-*") if (path / STEP_RECORD).is_file()]
        found = [old for path in sorted(records, key=lambda p: p.stat().st_mtime) if (old := _read(path))]
        same = [old for old in found if old.get("step") == name]
        return _difference(same[-1], content) if same else ""

    def _check_format(self) -> None:
        try:
            there = {path.name for path in _entries(self._folder) if not is_half_written(path)} - {_LOCK}
        except OSError as error:
            raise disk_error(error, self._folder) from None
        if not there:
            return
        if _FORMAT_FILE not in there:
            why = "was left by an earlier version of slonik, or by something else"
        else:
            found = (_read(self._folder / _FORMAT_FILE) or {}).get("format")
            why = f"is of format {found}, and this slonik goes on from format {FORMAT}" if found != FORMAT else ""
        if why:
            raise SlonikError(
                f"{self._folder} {why}: nothing of it can be used; remove it (rm -r {self._folder}) or choose another "
                "--out"
            )


class Checked(Exception):
    """A run was asked for and would have begun: its options, recipe and place are such as it takes.

    Attributes:
        run: not begun, with its `out`, `command`, `config` and `seed`.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(f"slonik {run.command} was checked only")
        self.run = run


@contextlib.contextmanager
def checking() -> Iterator[None]:
    """Within the block a run that would begin raises `Checked` instead: before anything is read, made or locked."""
    token = _checking.set(True)
    try:
        yield
    finally:
        _checking.reset(token)


class Run(Steps):
    """A command that makes the folder `out`, from the check of `out` to the removal of the steps.

    Args:
        out: the folder to make.
        command: as the passport names it.
        config: everything that was asked for, for the passport.
        seed: of the run.
        announce: called with a line for the user.
        reads: files and folders of the user that are read: `out` may not lie in one.
        overwrite: a result that is there may be replaced.
        keep_steps: leave `OUT.steps` where it is.
        resume: `done_before` will be called and decides about an `out` that is there.
        live: the folder in `out` that holds the steps of a command whose results lie in `out` from the start (a study):
            they stay there.
        main: False in all but the first of several processes: these check, write and remove nothing.
        made_from: everything that decides the result, asked for when it is there or an earlier one is in its place:
            the refusal then says what has changed since (commands that call `done_before` need none).

    Raises:
        SlonikError: at `with`: `out` is there already or cannot be made, lies in an input, is being made by another
            process, or has steps of another layout.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        command: str,
        config: BaseModel | Mapping[str, Any] | None = None,
        seed: int | None = None,
        announce: Announce = silent,
        reads: Iterable[str | Path | None] = (),
        overwrite: bool = False,
        keep_steps: bool = False,
        resume: bool = False,
        live: str | None = None,
        main: bool = True,
        made_from: Callable[[], Inputs] | None = None,
    ) -> None:
        self.out = Path(out)
        self.command, self.seed, self.main = command, seed, main
        self.config: dict[str, Any] = _readable(config or {})
        self.inputs: dict[str, str] = {}
        self.finished = False
        self._reads = [Path(path) for path in reads if path]
        self._overwrite, self._keep, self._live = overwrite, keep_steps, live
        self._resume = resume or live is not None
        self._made_from = made_from
        self._identity: dict[str, Any] | None = None
        self._begun = False
        self._started = time.perf_counter()
        super().__init__(self.out / live if live else work_folder(self.out), announce if main else silent)
        self._lock = Lock((self.out if live else self._folder) / _LOCK, f"the folder {self.out}")

    def __enter__(self) -> Self:
        if self.main:
            self._check_place()
        if _checking.get():
            raise Checked(self)
        if self.main:
            self._lock.take()
            sweep_folder(self._folder)
            if self._live:
                sweep_folder(self.out)
                if (earlier := work_folder(self.out)).is_dir():
                    self.announce(f"{earlier} was left by an earlier slonik and is not used: rm -r {earlier}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.main:
            return
        try:
            self._end(error)
        finally:  # an interruption here must not leave the lock with this process, which lives on in a notebook
            self._lock.release()
        for emptied in (self._folder, self.out) if self._live else (self._folder,):
            with contextlib.suppress(OSError):  # only an empty folder goes, and another run may have begun in it
                emptied.rmdir()

    def _end(self, error: BaseException | None) -> None:
        """Say what is left, or remove what is not needed any more."""
        folder = self._folder
        worth = any(path.is_file() and path.name not in _OWN_FILES for path in self._made())
        if error is not None and worth:
            left = f"what was finished is kept in {folder} ({_size(folder)}), from which the same command goes on"
            sentence = f"{left}; rm -r {folder} frees the space" if not self._live else left
            self.announce(sentence)
            error.add_note(sentence)  # for those who call the library, which announces nothing by itself
        elif error is None and self._live:
            self._write_identity(self.out, finished=True)
        if not worth or (self.finished and not self._keep and not self._live):
            # The format last: steps whose removal was interrupted must still be known as ours.
            for path in sorted(_entries(folder), key=lambda path: path.name == _FORMAT_FILE):
                if path.name == _LOCK:
                    continue
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        if error is not None and not worth and self._begun:  # nothing was made: other inputs may be tried
            (self.out / RUN_RECORD).unlink(missing_ok=True)

    def _made(self) -> Iterator[Path]:
        """What lies in the steps' folder, without the copies of what the caller gave, who has it."""
        return (path for path in self._folder.rglob("*") if GIVEN not in path.relative_to(self._folder).parts[:1])

    @property
    def seconds(self) -> float:
        """Time that the run has taken, with that of steps that were done before."""
        before = sum(result.seconds for result in self.done if not result.fresh)
        return time.perf_counter() - self._started + before

    def input(self, name: str, identity: str) -> str:
        """Note an input for the passport, and return its identity; what counts by its name alone is said to."""
        self.inputs[name] = str(identity)
        for source in getattr(identity, "parts", {}):
            if source.startswith(HUB):
                self.announce(f"{source} is known by its name alone: what changes there is not seen")
        return identity

    def done_before(self, identity: Inputs) -> bool:
        """Whether `out` holds the result of this very identity: for commands that find a result of theirs there.

        To be called first in the block. Where `out` holds something, it must say that it was made, or is being made,
        with `identity`; what holds nothing is to be made. The result will carry the identity in `run.json`.

        Raises:
            SlonikError: `out` was made from something else, which is named, or does not say from what.
        """
        self._identity = self._identified(identity)
        if all(path.name == _LOCK or is_half_written(path) for path in _entries(self.out)):
            if self._live and self.main:
                self._begun = True
                self._write_identity(self.out, finished=False)
            return False
        old = _read(self.out / RUN_RECORD)
        if old is None or old.get("format") != FORMAT:
            raise SlonikError(
                f"{self.out} is there already and does not say from what it was made (there is no {RUN_RECORD} of "
                f"format {FORMAT} in it): choose another --out or remove it"
            )
        if old.get("key") != self._identity["key"]:
            changes = _difference(old, self._identity) or "something else"
            raise SlonikError(
                f"{self.out} is there already and was made from other inputs ({changes}): choose another --out or "
                "remove it"
            )
        self._overwrite = True
        self.finished = bool(old.get("finished"))
        return self.finished

    def passport_step(
        self, summary: Mapping[str, Any] | None = None, *, config: Any = None, license: str | None = None
    ) -> Step:
        """The entry of this run for the result's passport."""
        return Step(
            command=self.command, config=self.config if config is None else _readable(config), inputs=self.inputs,
            seed=self.seed, seconds=round(self.seconds, 3), summary=dict(summary or {}), license=license,
        )  # fmt: skip

    @contextlib.contextmanager
    def result(self) -> Iterator[Path]:
        """A folder to fill; it is at `out` when the block ends without an error, and the steps go with the run's end.

        Raises:
            SlonikError: the disk is full; `out` is then as it was.
        """
        with new_folder(self.out, overwrite=self._overwrite) as folder:
            yield folder
            self._write_identity(folder, finished=True)
        self.finished = True

    def _identified(self, identity: Inputs) -> dict[str, Any]:
        """What `run.json` says of an identity."""
        content = {"format": FORMAT, "command": self.command, "inputs": _readable(identity)}
        return content | {"key": sha256_json([self.command, _digests(identity)])}

    def _write_identity(self, folder: Path, *, finished: bool) -> None:
        if self._identity is None and self._made_from is not None:
            self._identity = self._identified(self._made_from())
        if self._identity is not None:
            write_json(folder / RUN_RECORD, self._identity | {"finished": finished, "slonik": __version__})

    def _check_place(self) -> None:
        try:
            check_new_folder(self.out, overwrite=self._overwrite or self._resume)
        except SlonikError as error:
            if told := self._told_of_earlier():
                raise SlonikError(f"{error} ({told})") from None
            raise
        check_apart(self.out, self._reads, replaced=self._overwrite)

    def _told_of_earlier(self) -> str:
        """What this command changes against the one that made what is there; empty where that is not known."""
        old = _read(self.out / RUN_RECORD)
        if self._made_from is not None and old and (old.get("format"), old.get("command")) == (FORMAT, self.command):
            new, what = self._identified(self._made_from()), "inputs"
        else:  # options alone, which passports keep of whatever was made
            steps = (_read(self.out / FILE_NAME) or {}).get("lineage") or [{}]
            if not isinstance(steps[-1], Mapping) or steps[-1].get("command") != self.command or self._made_from:
                return ""
            old, new = ({"inputs": {**options, "out": None}} for options in (steps[-1]["config"], self.config))
            what = "options"
        changes = _difference(old, new)
        return (
            f"slonik {self.command} made it {f'from other {what}: {changes}' if changes else f'with the same {what}'}"
        )


def work_folder(out: str | Path) -> Path:
    """Where the steps of a run for `out` are kept until it is whole.

    Raises:
        SlonikError: `out` has no name of its own, like `.` or `/`.
    """
    path = Path(out)
    if path.name in ("", ".."):
        raise SlonikError(f"{path} is no name for a new folder: choose another --out")
    return path.with_name(f"{path.name}.steps")


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.unfinished")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _size(folder: Path) -> str:
    megabytes = folder_size(folder) / 1e6
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.1f} MB"


def _record(folder: Path, key: str) -> dict[str, Any] | None:
    """What a step with this key left; None where it has not ended."""
    record = _read(folder / STEP_RECORD)
    return record if record is not None and record.get("key") == key else None


def _readable(value: Any) -> Any:
    """JSON values in which an identity shows its parts."""
    if isinstance(value, Identity):
        return {"sha256": str(value), **value.parts} if value.parts else str(value)
    return _json(value, _readable)


def _digests(value: Any) -> Any:
    """JSON values in which an identity is its hash."""
    return str(value) if isinstance(value, Identity) else _json(value, _digests)


def _json(value: Any, inner: Callable[[Any], Any]) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(name): inner(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [inner(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((inner(one) for one in value), key=str)
    return str(value) if isinstance(value, Path) else value


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What of inputs and code differs between two records, for a sentence."""
    names = _differing(old.get("inputs") or {}, new.get("inputs") or {})
    before, after = old.get("code") or {}, new.get("code") or {}
    modules = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if modules:
        names.append(f"the code of {modules[0]}" + (f" and {len(modules) - 1} more" if len(modules) > 1 else ""))
    if not names:
        return ""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{shown} changed"


def _differing(old: Any, new: Any, place: str = "") -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: list[str] = []
        for name in [*new, *(name for name in old if name not in new)]:
            inner = f"{place}.{name}" if place else name
            if name not in old or name not in new:
                found.append(f"{inner} ({'new' if name in new else 'gone'})")
            elif name != "sha256" and old[name] != new[name]:
                found += _differing(old[name], new[name], inner)
        return found or ([place] if place else [])
    short = [json.dumps(value, ensure_ascii=False) for value in (old, new)]
    told = all(len(text) <= 24 for text in short) and None not in (old, new)
    return [f"{place} ({short[0]} -> {short[1]})" if told else place]
