"""The CPU quota of a container, in the files of both versions of control groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from slonik.core import processors
from slonik.core.processors import available_processors, cpu_quota

_V1 = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"
_CASES: dict[str, tuple[str, Mapping[str, str], float | None]] = {
    "version 2, inside a container": ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
    "version 2, no quota": ("0::/\n", {"cpu.max": "max 100000\n"}, None),
    "version 2, a group's own": ("0::/user/job\n", {"user/job/cpu.max": "50000 100000\n"}, 0.5),
    "version 2, the group around it is narrower": (
        "0::/pod/box\n", {"pod/box/cpu.max": "max 100000\n", "pod/cpu.max": "200000 100000\n"}, 2.0,
    ),
    "version 2, the path of the host": ("0::/../../kubepods/x\n", {"cpu.max": "300000 100000\n"}, 3.0),
    "version 1, inside a container": (
        _V1, {"cpu,cpuacct/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 2.5,
    ),
    "version 1, a group's own": (
        _V1, {"cpu/docker/abc/cpu.cfs_quota_us": "100000", "cpu/docker/abc/cpu.cfs_period_us": "50000"}, 2.0,
    ),
    "version 1, no quota": (_V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    "both, the quota in version 1": (
        _V1 + "0::/\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.0,
    ),
    "no control groups": ("", {}, None),
    "nonsense": ("0::/\n", {"cpu.max": "many few\n"}, None),
}  # fmt: skip


@pytest.mark.parametrize(("groups", "files", "quota"), _CASES.values(), ids=_CASES)
def test_quota(tmp_path: Path, groups: str, files: Mapping[str, str], quota: float | None) -> None:
    for name, text in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{name}": files[name] for name in files}}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cpu_quota(tmp_path) == quota


@pytest.mark.parametrize(("quota", "count"), [(None, 8), (0.1, 1), (1.5, 2), (3.0, 3), (64.0, 8)])
def test_processors_are_the_affinitys_within_the_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, count: int
) -> None:
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(processors, "cpu_quota", lambda _: quota)
    assert available_processors() == count
