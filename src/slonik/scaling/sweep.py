"""`slonik sweep`: one command with many settings and seeds, as runs of its own that are skipped when they are done.

Settings are `--set` fields with several values; every combination is run with every seed. Here runs follow one another
as processes of their own, so that one that fails, or dies, does not stop the others; on a scheduler they are an array
of jobs. What chose the checkpoint of a run, a metric of the development set, compares the settings; test scores are
kept and choose nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.files import Lock, check_new_folder, write_json
from slonik.core.hashing import sha256_file, sha256_json, sha256_texts
from slonik.core.passport import FILE_NAME as PASSPORT
from slonik.core.passport import Passport
from slonik.core.run import RUN_RECORD, Announce, Result, silent
from slonik.reporting.sweeps import (
    DEVELOPMENT,
    DONE,
    FAILED,
    FILE,
    MEASURED,
    OPEN,
    Setting,
    SweepRow,
    best_setting,
    check_parquet,
    settings_of,
    write_sweep,
)
from slonik.scaling.job import SAVING_SECONDS
from slonik.scaling.state import reason_of, tail

RECORD = "sweep.json"
FORMAT = 1
_LOG = "metrics.jsonl"
_LONGEST = 80
_RUNS, _LOGS = "runs", "logs"

Start = Callable[[Sequence[str], Path, Mapping[str, str]], int]
"""Runs `slonik WORDS` with the log and further environment variables that it is given; its exit code."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        name: of its folder, from settings and seed. words: after `slonik`.
        settings: field -> value as it was written. seed: of the run, where seeds are swept.
    """

    name: str
    words: tuple[str, ...]
    settings: dict[str, str]
    seed: int | None

    @property
    def setting(self) -> str:
        """The settings in one line."""
        return ", ".join(f"{key}={value}" for key, value in self.settings.items())


@dataclass(frozen=True, kw_only=True)
class Swept(Result):
    """What a sweep found.

    Attributes:
        out: folder with `runs/`, `logs/`, `sweep.json` and the Parquet file.
        rows: what the Parquet file holds.
        settings: the settings with their values over seeds.
        best: the best of them on the development set.
        failed: run -> sentence.
        open: runs that are not done.
    """

    out: Path
    rows: tuple[SweepRow, ...]
    settings: tuple[Setting, ...]
    best: Setting | None
    failed: dict[str, str] = field(default_factory=dict)
    open: tuple[str, ...] = ()


def plan(
    words: Sequence[str], sets: Sequence[str], seeds: int | None, out: Path, seed_words: Callable[[int], Sequence[str]]
) -> list[PlannedRun]:
    """Every combination of values with every seed, in order.

    Args:
        words: of the command, without what is swept and without --out.
        sets: "key=value,value,..."; one value alone is a constant.
        seeds: how many, from 0; None = the command's own seed.
        out: of the sweep.
        seed_words: words that give the command a seed.

    Raises:
        SlonikError: a setting without values, or twice; nothing to compare.
    """
    grid = dict(_values(one) for one in sets)
    if len(grid) < len(sets):
        raise SlonikError("--set names a field twice: give its values in one, --set learning_rate=1e-4,3e-4")
    swept = {key for key, values in grid.items() if len(values) > 1}
    runs = []
    for combination in itertools.product(*grid.values()):
        every = dict(zip(grid, combination, strict=True))
        settings = {key: value for key, value in every.items() if key in swept}
        for seed in range(seeds) if seeds is not None else [None]:
            name = _name(settings, seed)
            setting = [part for key, value in every.items() for part in ("--set", f"{key}={value}")]
            own = [*words, *setting, *(seed_words(seed) if seed is not None else ()), "--out", str(out / _RUNS / name)]
            runs.append(PlannedRun(name, tuple(own), settings, seed))
    if len(runs) < 2:
        raise SlonikError("one run is no sweep: give --set KEY=VALUE,VALUE,... or --seeds N, or run the command itself")
    return runs


def _values(text: str) -> tuple[str, list[str]]:
    """Key and values; commas within brackets and quotes do not part."""
    key, equals, rest = text.partition("=")
    if not equals or not key:
        raise SlonikError(f"--set {text!r} is not of the form KEY=VALUE,VALUE,...")
    values, depth, quote, current = [], 0, "", ""
    for letter in rest:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += (letter in "[{(") - (letter in "]})") if not quote else 0
        if letter == "," and depth == 0 and not quote:
            values.append(current)
            current = ""
        else:
            current += letter
    values.append(current)
    if not all(value.strip() for value in values) or len(set(values)) < len(values):
        raise SlonikError(f"--set {text!r} has a value twice, or one that is empty")
    return key, values


def _name(settings: Mapping[str, str], seed: int | None) -> str:
    parts = [f"{key.rpartition('.')[2]}={value}" for key, value in settings.items()]
    parts += [f"seed={seed}"] if seed is not None else []
    whole = ",".join(parts) or "run"
    plain = re.sub(r"[^\w=.,+-]+", "-", whole)
    if plain == whole and len(plain) <= _LONGEST:
        return plain
    return f"{plain[:_LONGEST]}-{sha256_json(dict(settings))[:8]}"


def started(words: Sequence[str], log: Path, variables: Mapping[str, str]) -> int:
    """Run `slonik WORDS` as a process of this Python; what it writes goes into `log`.

    Where this process is interrupted, that one is told to save and waited for.
    """
    command = [sys.executable, "-m", "slonik", *words]
    with open(log, "ab") as stream, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env={**os.environ, **variables}
    ) as process:  # fmt: skip
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(timeout=SAVING_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


class Sweep:
    """A sweep in its folder: its record, its runs.

    Args:
        runs: as `plan` gives them.
        command: name of slonik's command. recipe: the file that it reads, if it does.
        out: folder of the sweep.
        by: metric of the development set that compares the runs, "NAME:min" or "NAME:max"; None = what chose their
            checkpoints.
        announce: called with a line for the user.

    Raises:
        SlonikError: at `with`: the folder is of another sweep, or another process has it.
        MissingExtra: pyarrow is not installed.
    """

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        command: str,
        recipe: Path | None,
        out: Path,
        *,
        by: str | None = None,
        announce: Announce = silent,
    ) -> None:
        check_parquet()
        self._by = _direction(by) if by is not None else None
        self.runs, self.command, self.out, self._announce = list(runs), command, out, announce
        self._lock = Lock(out / "lock", f"the sweep {out}")
        self._content: dict[str, Any] = {
            "format": FORMAT, "command": command, "recipe": sha256_file(recipe) if recipe is not None else None,
            "runs": {},
        }  # fmt: skip

    def __enter__(self) -> Sweep:
        check_new_folder(self.out, overwrite=(self.out / RECORD).is_file() or _only_lock(self.out))
        self._lock.take()
        try:
            self._take_over()
        except SlonikError:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._write()
        finally:
            self._lock.release()

    def _take_over(self) -> None:
        """Go on with what the folder holds.

        Raises:
            SlonikError: it was made by another command or recipe, or a run in it by other words.
        """
        if not (self.out / RECORD).is_file():
            return
        try:
            old = json.loads((self.out / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SlonikError(f"{self.out / RECORD} cannot be read ({error}): choose another --out") from None
        for name in ("format", "command", "recipe"):
            if old.get(name) != self._content[name]:
                what = f"{old.get(name)!r}, not {self._content[name]!r}" if name != "recipe" else "of another content"
                raise SlonikError(
                    f"{self.out} is of another sweep (its {name} is {what}): choose another --out; nothing was "
                    "overwritten"
                )
        keys = {run.name: _key(run) for run in self.runs}
        for name, run in old["runs"].items():
            if name in keys and run["key"] != keys[name]:
                raise SlonikError(
                    f"{self.out} holds the run {name}, made by other words ({run['words']}): choose another --out; "
                    "nothing was overwritten"
                )
        self._content["runs"] = old["runs"]

    @property
    def todo(self) -> list[PlannedRun]:
        """Runs whose result is not there."""
        return [run for run in self.runs if not _is_done(self._folder(run))]

    def run(self, start: Start = started) -> None:
        """Run what is not done, one after the other; a run that fails is noted and does not stop the others.

        Args:
            start: runs one.
        """
        (self.out / _LOGS).mkdir(parents=True, exist_ok=True)
        todo = {run.name for run in self.todo}
        if len(todo) < len(self.runs):
            self._announce(f"{len(self.runs) - len(todo)} of {len(self.runs)} runs are done")
        for number, run in enumerate(self.runs, start=1):
            if run.name in todo:
                self._announce(f"run {number} of {len(self.runs)}: {run.name} (log: {self._log(run)})")
                self._one(run, start)
            self.note(run)

    def _one(self, run: PlannedRun, start: Start) -> None:
        refusal = self.out / _LOGS / f"{run.name}.refused"
        refusal.unlink(missing_ok=True)
        begun = time.perf_counter()
        self.note(run)
        code = start(run.words, self._log(run), {"SLONIK_REFUSAL_FILE": str(refusal.absolute())})
        seconds = time.perf_counter() - begun
        said = tail(refusal).splitlines()
        refusal.unlink(missing_ok=True)
        if code in (75, 130, -2, -15):  # it was told to end, and so were we
            raise SlonikError(f"the run {run.name} was interrupted: the same sweep goes on with it")
        if code == 0 and _is_done(self._folder(run)):
            self.note(run, seconds=seconds)
            development_metric(self._folder(run), self._by)  # a metric of the test set is refused after the first run
            value = next((row.value for row in self._rows(run) if row.role == DEVELOPMENT), None)
            self._announce(f"done: {run.name}" + (f" ({value:.4f})" if value is not None else ""))
            return
        why = said[0] if said else reason_of(f"exit code {code}\n{tail(self._log(run))}")
        last = next((line.strip() for line in reversed(tail(self._log(run)).splitlines()) if line.strip()), "")
        sentence = why or (f"it ended with exit code {code}: {last}" if code else "it made no result").rstrip(": ")
        self.note(run, seconds=seconds, sentence=f"{sentence} (log: {self._log(run)})")
        self._announce(f"failed: {run.name}: {sentence}")

    def note(self, run: PlannedRun, **more: Any) -> None:
        """Keep what is known of a run."""
        old = self._content["runs"].get(run.name, {})
        if _is_done(self._folder(run)):
            old = {name: value for name, value in old.items() if name != "sentence"}
        fresh = {
            "words": " ".join(run.words), "key": _key(run), "settings": run.settings, "seed": run.seed,
            "setting": run.setting,
        }  # fmt: skip
        self._content["runs"][run.name] = {**old, **fresh, **more}
        write_json(self.out / RECORD, self._content)

    def found(self) -> Swept:
        """What the runs found; the Parquet file is written anew."""
        rows = [row for run in self.runs for row in self._rows(run)]
        write_sweep(self.out / FILE, rows)
        settings = settings_of(rows)
        states = {row.run: row for row in rows}
        return Swept(
            out=self.out, rows=tuple(rows), settings=tuple(settings), best=best_setting(settings),
            report=self.out / FILE,
            failed={name: row.sentence for name, row in states.items() if row.state == FAILED},
            open=tuple(name for name, row in states.items() if row.state == OPEN),
            summary={"runs": len(self.runs)},
            seconds=sum(run.get("seconds", 0.0) for run in self._content["runs"].values()),
        )  # fmt: skip

    def _write(self) -> None:
        if self._content["runs"]:
            write_json(self.out / RECORD, self._content)
            with contextlib.suppress(SlonikError):  # told by who called `found`
                self.found()

    def _rows(self, run: PlannedRun) -> Iterator[SweepRow]:
        """A row for each metric of a run, the development metric first; one row where there is none."""
        folder, known = self._folder(run), self._content["runs"].get(run.name, {})
        common: dict[str, Any] = {
            "run": run.name, "command": self.command, "setting": run.setting,
            "settings": json.dumps(run.settings, ensure_ascii=False), "seed": run.seed, "out": str(folder),
            "seconds": known.get("seconds"),
        }  # fmt: skip
        if not _is_done(folder):
            sentence = known.get("sentence", "")
            yield SweepRow(**common, state=FAILED if sentence else OPEN, sentence=sentence)
            return
        chosen = development_metric(folder, self._by)
        records = Passport.read(folder).records
        if chosen is not None:
            metric, value, higher = chosen
            yield SweepRow(**common, state=DONE, role=DEVELOPMENT, metric=metric, value=value, higher_is_better=higher)
        for record in records:
            own = {
                name: getattr(record, name) for name in ("suite", "task", "variant", "metric", "value", "low", "high")
            }
            yield SweepRow(**common, state=DONE, role=MEASURED, n=record.n, **own)
        if chosen is None and not records:
            yield SweepRow(**common, state=DONE)

    def _folder(self, run: PlannedRun) -> Path:
        return self.out / _RUNS / run.name

    def _log(self, run: PlannedRun) -> Path:
        return self.out / _LOGS / f"{run.name}.log"


def development_metric(folder: Path, by: tuple[str, bool] | None = None) -> tuple[str, float, bool] | None:
    """The metric that chose the checkpoint in `folder`, its best value, and whether more is better.

    It is read from the training log, which knows the development set alone. None where the log tells of none.

    Args:
        by: another metric of the log, and whether more of it is better.

    Raises:
        SlonikError: `by` is not in the log; that it is measured on a test set is said where the passport knows it.
    """
    try:
        lines = [json.loads(line) for line in (folder / _LOG).read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError):
        lines = []
    told = next((line for line in lines if "best_metric" in line), None)
    if by is None and told is None:
        return None
    metric, higher = by or (str(told["best_metric"]), bool(told["higher_is_better"]))  # type: ignore[index]
    evaluations = [line["evaluation"] for line in lines if "evaluation" in line]
    values = [float(one[metric]) for one in evaluations if metric in one]
    if values:
        return metric, max(values) if higher else min(values), higher
    if by is None:
        return None
    known = ", ".join(sorted({name for one in evaluations for name in one})) or "none"
    if any(record.metric == metric for record in Passport.read(folder).records):
        raise SlonikError(
            f"--by {metric}: it was measured on the result, and what is reported chooses nothing; metrics of the "
            f"development set are {known}"
        )
    raise SlonikError(f"--by {metric}: the training log has no such metric of the development set; it has {known}")


def _direction(by: str) -> tuple[str, bool]:
    name, colon, way = by.rpartition(":")
    if not colon or not name or way not in ("min", "max"):
        raise SlonikError(f"--by {by!r} is not METRIC:min or METRIC:max, for example bits_per_byte:min")
    return name, way == "max"


def _is_done(folder: Path) -> bool:
    """Whether the result is there: results are whole or absent, and a study says when it has ended."""
    if not folder.is_dir():
        return False
    try:
        return bool(json.loads((folder / RUN_RECORD).read_text(encoding="utf-8")).get("finished"))
    except (OSError, ValueError):
        return (folder / PASSPORT).is_file() or any(folder.glob(f"*/{PASSPORT}"))


def _key(run: PlannedRun) -> str:
    return sha256_texts(run.words)


def _only_lock(folder: Path) -> bool:
    return folder.is_dir() and all(path.name == "lock" for path in folder.iterdir())
