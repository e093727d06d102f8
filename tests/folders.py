"""Folders of a test session for what is made once and read by many tests; pytest removes them as it does `tmp_path`."""

from __future__ import annotations

import os
from pathlib import Path

_BASE: list[Path] = []


def begin(base: Path) -> None:
    """Tell where pytest keeps this process's temporary folders."""
    _BASE[:] = [base]


def of_process(name: str) -> Path:
    """A folder of this process."""
    return _made(_BASE[0] / name)


def of_session(name: str) -> Path:
    """A folder that all processes of the session share: pytest-xdist puts theirs beside one another."""
    return _made((_BASE[0].parent if "PYTEST_XDIST_WORKER" in os.environ else _BASE[0]) / name)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
