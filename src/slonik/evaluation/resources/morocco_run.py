"""Run a command as MOROCCO does and write the published logs of it.

The command reads JSON lines on standard input, writes one prediction a line to standard output, and takes
`--batch-size N`. It is run on one record and on many, in turn, several times; each run is watched about three
times a second. Time is taken from a monotonic clock (added to the time of day at the start), the first sample
at the start of the process and the last at its end. What follows from the logs is computed in `morocco_score`.

A folder's `run.json` says what its logs are of: the same command goes on where an interrupted one stopped, and
another command does not mix with it.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import IO, Any

from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.core.hashing import sha256_file
from slonik.core.progress import progress_bar
from slonik.evaluation.resources.machine import describe_machine
from slonik.evaluation.resources.morocco_log import RUN_FILE, Log, Sample, log_name, read_log, write_log
from slonik.evaluation.resources.process_sampler import GpuWatch, ProcessSampler, import_psutil

_TAIL_LINES = 20
_KILL_AFTER = 5.0


@dataclass(frozen=True)
class RunPlan:
    """What to run and how often.

    Attributes:
        command: program and arguments; `--batch-size N` is added at the end.
        input: JSONL file; taken again from its start when it is shorter than `input_size`.
        model, task: names of the two folders under `out`.
        repeats: runs of each of the two sizes.
        period: seconds between samples.
        timeout: seconds after which a run is stopped; None = never.
        overwrite: replace logs of another command.
    """

    command: tuple[str, ...]
    input: Path
    out: Path
    model: str
    task: str
    repeats: int = 5
    input_size: int = 2000
    batch_size: int = 32
    period: float = 0.3
    timeout: float | None = None
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        """Where the logs go."""
        return self.out / self.model / self.task


def run(plan: RunPlan) -> list[Log]:
    """Run what is missing and return all logs of the plan.

    Raises:
        SlonikError: a bad option or input, logs of another command in the folder, a command that fails (its last
            lines on stderr are in the sentence), stops at the timeout, or writes another number of predictions.
        MissingExtra: psutil is not installed.
    """
    import_psutil()
    lines = _check(plan)
    _claim_folder(plan)
    sizes = ((1, 1), (plan.input_size, plan.batch_size))
    runs = [(size, batch, repeat) for repeat in range(1, plan.repeats + 1) for size, batch in sizes]
    watch = GpuWatch(plan.period) if GpuWatch.available() else None
    with watch or nullcontext(), progress_bar(f"{plan.model} {plan.task}", len(runs)) as bar:
        for size, batch, repeat in runs:
            path = plan.folder / log_name(size, batch, repeat)
            if not path.exists():
                write_log(path, _watched_run(plan, lines, size, batch, watch))
            bar.advance(run=path.stem)
    return [read_log(plan.folder / log_name(*numbers)) for numbers in runs]


def _check(plan: RunPlan) -> list[str]:
    for name in (plan.model, plan.task):
        if not name or name in (".", "..") or set(name) & set("/\\\0"):
            raise SlonikError(f"{name!r} cannot be a folder's name: give --model and --task without slashes")
    if min(plan.repeats, plan.input_size, plan.batch_size) < 1 or plan.period <= 0:
        raise SlonikError("--repeats, --input-size and --batch-size must be at least 1, --period more than 0")
    if plan.input_size == 1 and plan.batch_size == 1:
        raise SlonikError("--input-size 1 with --batch-size 1 is the other half of the rule: give more records")
    try:
        # not splitlines: JSON may hold U+2028 and its like as they are
        lines = [line for line in plan.input.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SlonikError(f"{plan.input} is not a readable JSONL file: {error}") from None
    if not lines:
        raise SlonikError(f"{plan.input} holds no record: one JSON object a line is expected")
    for number, line in enumerate(lines, 1):
        try:
            json.loads(line)
        except json.JSONDecodeError as error:
            raise SlonikError(f"record {number} of {plan.input} is not JSON ({error})") from None
    return lines


def _claim_folder(plan: RunPlan) -> None:
    facts = asdict(plan) | {"command": list(plan.command), "input_sha256": sha256_file(plan.input)}
    for field in ("out", "input", "overwrite", "repeats", "timeout"):
        del facts[field]
    path = plan.folder / RUN_FILE
    old = _read_claim(path)
    logs = sorted(plan.folder.glob("*_*_*.jsonl"))
    same = old is not None and all(old.get(name) == value for name, value in facts.items())
    if logs and not same:
        if not plan.overwrite:
            raise SlonikError(
                f"{plan.folder} holds logs of another command or input: choose another --out, or give --overwrite"
            )
        for log in logs:
            log.unlink()
    if not same or not logs:
        write_json(path, facts | {"machine": describe_machine()})


def _read_claim(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    return content if isinstance(content, dict) else None


def _watched_run(plan: RunPlan, lines: Sequence[str], size: int, batch: int, gpu: GpuWatch | None) -> list[Sample]:
    command = [*plan.command, "--batch-size", str(batch)]
    with tempfile.TemporaryFile() as feed, tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as complaints:
        for line in islice(cycle(lines), size):
            feed.write(line.encode("utf-8") + b"\n")
        feed.seek(0)
        wall, start = time.time(), time.monotonic()
        try:
            process = subprocess.Popen(command, stdin=feed, stdout=told, stderr=complaints, start_new_session=True)
        except OSError as error:
            raise SlonikError(f"cannot run {shlex.join(plan.command)}: {error.strerror or error}") from None
        guard = _Stopper(process, plan.timeout)
        try:
            samples = list(_samples(process, gpu, plan.period, wall, start))
        finally:
            guard.stop()
        if guard.timed_out:
            raise SlonikError(
                f"{shlex.join(command)} was stopped after {plan.timeout:g} s (--timeout){_tail(complaints)}"
            )
        if process.returncode != 0:
            how = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
            raise SlonikError(f"{shlex.join(command)} failed with {how} on {size} records{_tail(complaints)}")
        _check_predictions(told, size, command)
    return samples


def _samples(
    process: subprocess.Popen[bytes], gpu: GpuWatch | None, period: float, wall: float, start: float
) -> Iterator[Sample]:
    sampler = ProcessSampler(process.pid, gpu)
    before, last = start, Sample(wall)
    looks = 0
    while True:
        now = time.monotonic()
        usage = sampler.look(now - before)
        if usage is not None:
            before = now
            # The first look is dated to the start of the process, which it follows by milliseconds.
            last = Sample(wall + (now - start if looks else 0.0), **asdict(usage))
            looks += 1
            yield last
        try:
            process.wait(timeout=max(0.01, start + max(1, looks) * period - time.monotonic()))
        except subprocess.TimeoutExpired:
            continue
        end = wall + time.monotonic() - start
        if looks == 0:  # it ended before the first look
            yield last
        yield Sample(end, last.cpu_usage, last.ram, last.gpu_usage, last.gpu_ram)
        return


class _Stopper:
    """Ends a process group at a time limit, or when the run is left by an error or an interrupt."""

    def __init__(self, process: subprocess.Popen[bytes], timeout: float | None) -> None:
        self._process = process
        self.timed_out = False
        self._timer = threading.Timer(timeout, self._late) if timeout else None
        if self._timer:
            self._timer.daemon = True
            self._timer.start()

    def _late(self) -> None:
        self.timed_out = True
        self._end()

    def stop(self) -> None:
        """Cancel the limit; a process that still runs is ended with all it started."""
        if self._timer:
            self._timer.cancel()
        if self._process.poll() is None:
            self._end()

    def _end(self) -> None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sign)
                self._process.wait(timeout=_KILL_AFTER)
                return
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


def _tail(stream: IO[bytes]) -> str:
    """The last lines that the command wrote to stderr, indented."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 16384))
    lines = stream.read().decode("utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    return ":\n" + "\n".join(f"    {line}" for line in lines) if lines else "; it wrote nothing to stderr"


def _check_predictions(told: IO[bytes], size: int, command: Sequence[str]) -> None:
    told.seek(0)
    written = sum(1 for line in told if line.strip())
    if written != size:
        raise SlonikError(
            f"{shlex.join(command)} wrote {written} predictions for {size} records: one a line is expected, "
            "and a speed is worth nothing where answers are missing"
        )
