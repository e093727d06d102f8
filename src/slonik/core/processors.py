"""How many processors this process may use: its affinity, and the CPU quota of the container around it.

A container that may use two of a machine's sixty-four processors sees all of them: its limit is a quota of time in the
control groups of Linux, which `os.cpu_count` and `os.sched_getaffinity` do not know. Threads above the quota are put
to sleep by the kernel for the rest of each period, with everybody who waits for them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available_processors(root: Path = Path("/")) -> int:
    """Processors that this process may use: those of its affinity, no more than its control group's quota (rounded up).

    Args:
        root: where `proc` and `sys` are looked for; another one in tests.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The smallest CPU quota, in processors, of the control group of this process and of those around it; None = none.

    Reads version 2 (`cpu.max`: quota and period in microseconds, https://docs.kernel.org/admin-guide/cgroup-v2.html)
    and version 1 (`cpu.cfs_quota_us`, `cpu.cfs_period_us`; -1 = no quota).
    """
    quotas = [quota for folder in _groups(root) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the control groups that limit this process, the innermost first.

    Inside a container the path in /proc/self/cgroup may be the one outside it, which is not there: then the mount's
    own root is the container's group.
    """
    lines = _read(root / "proc/self/cgroup").splitlines()
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            places = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            places = [mount / controllers, mount / "cpu", mount / "cpu,cpuacct"]
        else:
            continue
        for place in places:
            yield from _upwards(place, path)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def _quota(folder: Path) -> float | None:
    """The quota in one group's files, in processors."""
    numbers = _read(folder / "cpu.max").split()
    if not numbers:
        numbers = [_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()]
    try:
        quota, period = int(numbers[0]), int(numbers[1])
    except (ValueError, IndexError):  # "max", or no such files
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
