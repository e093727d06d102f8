"""Folders of a test session for what is made once and read by many tests; pytest removes them as it does `tmp_path`."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_BASE: list[Path] = []


def begin(base: Path) -> None:
    """Tell where pytest keeps this process's temporary folders."""
    _BASE[:] = [base]


def of_session(name: str) -> Path:
    """A folder that all processes of the session share: pytest-xdist puts theirs beside one another."""
    return _made((_BASE[0].parent if "PYTEST_XDIST_WORKER" in os.environ else _BASE[0]) / name)


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """One process of the session at a time makes what lies at `place`."""
    with open(f"{place}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def once(place: Path, work: Callable[[], T]) -> T:
    """What `work()` gives in the first process of the session that asks, and the same in all others."""
    kept = Path(f"{place}.pickle")
    with alone(place):
        if not kept.is_file():
            kept.write_bytes(pickle.dumps(work()))
        found: T = pickle.loads(kept.read_bytes())
    return found


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
