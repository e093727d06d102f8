"""Where data and made things live on this machine: the data folder and the cache folder."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$SLONIK_CACHE`, or `slonik` in the user's cache folder (`$XDG_CACHE_HOME`, `~/.cache`)."""
    if named := os.environ.get("SLONIK_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slonik"


def data_dir(option: Path | None = None) -> Path:
    """The folder with benchmark data: `option`, else `$SLONIK_DATA`, else `data` in the cache folder."""
    if option is not None:
        return Path(option)
    if named := os.environ.get("SLONIK_DATA"):
        return Path(named)
    return cache_dir() / "data"
