"""Where data and made things live on this machine, what the cache folder holds, and how to get rid of it.

Everything in the cache but `data` is made again when it is missing. Who writes there decides names and forms; here a
kind is a sub-folder and an entry what lies directly in it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slonik.core.errors import SlonikError

KINDS = {
    "training/states": "teachers' states of every token (compress, distill)",
    "training/vectors": "teachers' sentence vectors (compress, distill)",
    "training/tokens": "texts cut into tokens (compress, distill)",
    "embeddings": "sentence vectors of the benchmark's texts (evaluate encodechka)",
    "layers": "vectors of every layer (evaluate probing)",
    "latency": "measured times of blocks (compress)",
    "embedded": "checkpoints made from packages (embedded:...)",
    "converted": "checkpoints whose weights were pickled, as safetensors (--convert-weights)",
    "hashes": "hashes of large files and of code, to know what has changed (every command that keeps steps)",
    "data": "benchmark data (fetch); some has to be downloaded again",
}


def cache_dir() -> Path:
    """`$SLONIK_CACHE`, or `slonik` in the user's cache folder (on Linux `$XDG_CACHE_HOME`, else `~/.cache`)."""
    if named := os.environ.get("SLONIK_CACHE"):
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("slonik", appauthor=False)


def data_dir(option: str | Path | None = None) -> Path:
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


@dataclass(frozen=True)
class CacheEntry:
    """One file or folder of a kind.

    Attributes:
        size: bytes.
        used: when it was last written, or used where its reader marks that; seconds since 1970.
    """

    kind: str
    path: Path
    size: int
    used: float


def cache_entries(root: Path) -> list[CacheEntry]:
    """All entries of the known kinds under `root`, newest first within a kind."""
    found = []
    for kind in KINDS:
        folder = root / kind
        entries = [_entry(kind, path) for path in folder.iterdir()] if folder.is_dir() else []
        found += sorted(entries, key=lambda entry: -entry.used)
    return found


def clear_cache(root: Path, kinds: Iterable[str], *, unused_days: float = 0.0) -> list[CacheEntry]:
    """Remove the entries of `kinds` (`training` stands for all of its parts) not used for `unused_days`.

    Returns:
        What was removed.

    Raises:
        SlonikError: an unknown kind, or something that cannot be removed.
    """
    chosen: set[str] = set()
    for name in kinds:
        some = {kind for kind in KINDS if kind == name or kind.startswith(f"{name}/")}
        if not some:
            raise SlonikError(f"unknown kind of cache {name!r}: choose from training, {', '.join(KINDS)}")
        chosen |= some
    latest = time.time() - 86400 * unused_days
    removed = [entry for entry in cache_entries(root) if entry.kind in chosen and entry.used <= latest]
    for entry in removed:
        try:
            shutil.rmtree(entry.path) if entry.path.is_dir() else entry.path.unlink()
        except OSError as error:
            raise SlonikError(f"cannot remove {entry.path}: {error.strerror}") from None
    return removed


def _entry(kind: str, path: Path) -> CacheEntry:
    parts = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    facts = [part.lstat() for part in parts]
    size = sum(fact.st_size for part, fact in zip(parts, facts, strict=True) if not part.is_dir())
    return CacheEntry(kind, path, size, max(fact.st_mtime for fact in facts))
