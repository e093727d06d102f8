"""Where data and made things live on this machine: the data folder and the cache folder."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
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


def own_names(paths: Sequence[str]) -> list[str]:
    """A folder name for each of several paths or model names, all different: the last part where that is enough,
    else as many parts from the end as tell the alike ones apart, else a number behind."""
    parts = [[part for part in Path(path).parts if part not in ("/", "..", ".")] or ["model"] for path in paths]
    names = [""] * len(parts)
    for depth in range(1, max(map(len, parts), default=0) + 1):
        now = ["-".join(some[-depth:]) for some in parts]
        names = [name or (new if now.count(new) == 1 else "") for name, new in zip(names, now, strict=True)]
    taken: set[str] = set(names)
    for place, name in enumerate(names):
        if not name:
            whole = "-".join(parts[place])
            choices = itertools.chain([whole], (f"{whole}-{number}" for number in itertools.count(1)))
            names[place] = next(choice for choice in choices if choice not in taken)
            taken.add(names[place])
    return names
