"""Run a command as MOROCCO does and write the published logs of it.

The command reads JSON lines on standard input, writes one prediction a line to standard output, and takes
`--batch-size N`. It is run on one record and on many, in turn, several times; each run is watched about three
times a second. Time is taken from a monotonic clock (added to the time of day at the start), the first sample
at the start of the process and the last at its end. What follows from the logs is computed in `morocco`.

CPU and memory of the process and all its descendants come from psutil. GPU use comes from `nvidia-smi`, asked in a
thread of its own because one answer can take longer than a sampling period; where there is no such program it is
None. Inside a container the driver may not know our process ids: then the device's own use above what it was at the
start is given.

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
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import IO, Any

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.files import write_json
from slonik.core.hashing import sha256_file
from slonik.core.progress import progress_bar
from slonik.evaluation.resources.machine import describe_machine, nvidia_smi
from slonik.evaluation.resources.morocco import RUN_FILE, Log, Sample, log_name, read_log, read_run_file, write_log

_TAIL_LINES = 20
_KILL_AFTER = 5.0
_MIB = 2**20


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
    old = read_run_file(path)
    logs = sorted(plan.folder.glob("*_*_*.jsonl"))
    same = bool(old) and all(old.get(name) == value for name, value in facts.items())
    if logs and not same:
        if not plan.overwrite:
            raise SlonikError(
                f"{plan.folder} holds logs of another command or input: choose another --out, or give --overwrite"
            )
        for log in logs:
            log.unlink()
    if not same or not logs:
        write_json(path, facts | {"machine": describe_machine()})


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
        try:
            samples = list(_samples(process, gpu, plan, wall, start))
        except subprocess.TimeoutExpired:
            _end(process)  # before its last words are read
            raise SlonikError(
                f"{shlex.join(command)} was stopped after {plan.timeout:g} s (--timeout){_tail(complaints)}"
            ) from None
        finally:
            _end(process)
        if process.returncode != 0:
            how = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
            raise SlonikError(f"{shlex.join(command)} failed with {how} on {size} records{_tail(complaints)}")
        _check_predictions(told, size, command)
    return samples


def _samples(
    process: subprocess.Popen[bytes], gpu: GpuWatch | None, plan: RunPlan, wall: float, start: float
) -> Iterator[Sample]:
    """Samples until the process ends; subprocess.TimeoutExpired where that takes longer than the plan allows."""
    sampler = ProcessSampler(process.pid, gpu)
    limit = start + plan.timeout if plan.timeout else float("inf")
    before, last = start, Sample(wall)
    taken = 0
    while True:
        now = time.monotonic()
        # The first sample is dated to the start of the process, which it follows by milliseconds.
        sample = sampler.sample(wall + (now - start if taken else 0.0), now - before)
        if sample is not None:
            before, last = now, sample
            taken += 1
            yield last
        next_at = min(start + max(1, taken) * plan.period, limit)
        try:
            process.wait(timeout=max(0.01, next_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= limit:
                raise
            continue
        end = wall + time.monotonic() - start
        if taken == 0:  # it ended before the first sample
            yield last
        yield replace(last, timestamp=end)
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs with all that it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL) if process.poll() is None else ():
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, sign)
            process.wait(timeout=_KILL_AFTER)
            return


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


class ProcessSampler:
    """Samples what a process tree uses.

    Args:
        pid: the root of the tree.
        gpu: where GPU use comes from; None = nowhere.

    Raises:
        MissingExtra: psutil is not installed.
    """

    def __init__(self, pid: int, gpu: GpuWatch | None) -> None:
        self._psutil = import_psutil()
        self._pid = pid
        self._gpu = gpu
        self._cpu_seconds: dict[tuple[int, float], float] = {}

    def sample(self, timestamp: float, seconds_since_last: float) -> Sample | None:
        """What the tree uses, CPU since the last sample; None when the root is gone."""
        processes = self._tree()
        if not processes:
            return None
        spent, memory = 0.0, 0
        for process in processes:
            try:
                with process.oneshot():
                    key = (process.pid, process.create_time())
                    times = process.cpu_times()
                    memory += process.memory_info().rss
            except self._psutil.Error:
                continue  # it ended between the listing and the sample
            total = times.user + times.system
            spent += total - self._cpu_seconds.get(key, 0.0)
            self._cpu_seconds[key] = total
        if memory == 0:
            return None
        usage, gpu_memory = self._gpu.latest({process.pid for process in processes}) if self._gpu else (None, None)
        cpu = round(spent / seconds_since_last, 4) if seconds_since_last > 0 else 0.0
        return Sample(timestamp, cpu, memory, usage, gpu_memory)

    def _tree(self) -> list[Any]:
        try:
            root = self._psutil.Process(self._pid)
            if root.status() == self._psutil.STATUS_ZOMBIE:
                return []
            return [root, *root.children(recursive=True)]
        except self._psutil.Error:
            return []


class GpuWatch:
    """Asks `nvidia-smi` again and again in a thread; a context manager.

    Args:
        period: seconds between questions.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._by_pid: dict[int, int] = {}
        self._device: tuple[float, int] | None = None
        self._before: int | None = None
        self._thread = threading.Thread(target=self._run, name="nvidia-smi", daemon=True)

    @staticmethod
    def available() -> bool:
        """Whether the program is there and sees a device."""
        return _device_use() is not None

    def __enter__(self) -> GpuWatch:
        self._device = _device_use()
        self._before = self._device[1] if self._device else None
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def latest(self, pids: set[int]) -> tuple[float | None, int | None]:
        """(share of GPU time, bytes) of these processes by the last answer; (None, None) while they hold nothing."""
        with self._lock:
            used = [size for pid, size in self._by_pid.items() if pid in pids]
            if self._device is None:
                return None, None
            if used:
                return self._device[0], sum(used)
            grown = self._device[1] - (self._before or 0)
            return (self._device[0], grown) if not self._by_pid and grown > 0 else (None, None)

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            by_pid, device = _process_use(), _device_use()
            with self._lock:
                self._by_pid, self._device = by_pid, device


def import_psutil() -> Any:
    """psutil, or the sentence that says how to get it.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import psutil
    except ModuleNotFoundError:
        raise MissingExtra("watching a process", "evaluate", "psutil") from None
    return psutil


def _device_use() -> tuple[float, int] | None:
    """(greatest load, bytes in use over all devices)."""
    rows = nvidia_smi("--query-gpu=utilization.gpu,memory.used")
    known = [(float(load) / 100, int(float(used) * _MIB)) for load, used in rows if _numeric(load, used)]
    return (max(load for load, _ in known), sum(used for _, used in known)) if known else None


def _process_use() -> dict[int, int]:
    """Process id -> bytes, as far as the driver tells."""
    found: dict[int, int] = {}
    for pid, used in nvidia_smi("--query-compute-apps=pid,used_memory"):
        if _numeric(pid, used):
            found[int(pid)] = found.get(int(pid), 0) + int(float(used) * _MIB)
    return found


def _numeric(*values: str) -> bool:
    return all(value.replace(".", "", 1).isdigit() for value in values)
