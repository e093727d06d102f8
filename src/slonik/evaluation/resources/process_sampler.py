"""What a process and all its descendants use right now: CPU time, resident memory, GPU memory and load.

CPU and memory come from psutil. GPU figures come from `nvidia-smi`, asked in a thread of its own because one
answer can take longer than a sampling period; where there is no such program they are None. Inside a container
the driver may not know our process ids: then the device's own use above what it was at the start is given.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from dataclasses import dataclass
from typing import Any

from slonik.core.errors import MissingExtra

_MIB = 2**20


@dataclass(frozen=True)
class Usage:
    """CPU in cores since the last look, bytes of memory, share of GPU time, bytes of GPU memory; None = unknown."""

    cpu_usage: float | None
    ram: int | None
    gpu_usage: float | None
    gpu_ram: int | None


class ProcessSampler:
    """Looks at a process tree again and again.

    Args:
        pid: the root of the tree.
        gpu: where GPU figures come from; None = nowhere.

    Raises:
        MissingExtra: psutil is not installed.
    """

    def __init__(self, pid: int, gpu: GpuWatch | None) -> None:
        self._psutil = import_psutil()
        self._pid = pid
        self._gpu = gpu
        self._cpu_seconds: dict[tuple[int, float], float] = {}

    def look(self, seconds_since_last: float) -> Usage | None:
        """What the tree uses; None when the root is gone."""
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
                continue  # it ended between the listing and the look
            total = times.user + times.system
            spent += total - self._cpu_seconds.get(key, 0.0)
            self._cpu_seconds[key] = total
        if memory == 0:
            return None
        usage, gpu_memory = self._gpu.latest({process.pid for process in processes}) if self._gpu else (None, None)
        cpu = round(spent / seconds_since_last, 4) if seconds_since_last > 0 else 0.0
        return Usage(cpu, memory, usage, gpu_memory)

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
        return shutil.which("nvidia-smi") is not None and _device_use() is not None

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
    rows = _ask("--query-gpu=utilization.gpu,memory.used")
    known = [(float(load) / 100, int(float(used) * _MIB)) for load, used in rows if _numeric(load, used)]
    return (max(load for load, _ in known), sum(used for _, used in known)) if known else None


def _process_use() -> dict[int, int]:
    """Process id -> bytes, as far as the driver tells."""
    found: dict[int, int] = {}
    for pid, used in _ask("--query-compute-apps=pid,used_memory"):
        if _numeric(pid, used):
            found[int(pid)] = found.get(int(pid), 0) + int(float(used) * _MIB)
    return found


def _numeric(*values: str) -> bool:
    return all(value.replace(".", "", 1).isdigit() for value in values)


def _ask(query: str) -> list[list[str]]:
    """Rows of two fields; nothing where the program fails or hangs."""
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[field.strip() for field in line.split(",")] for line in answer.stdout.splitlines()]
    return [row for row in rows if len(row) == 2]
