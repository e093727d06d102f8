"""What lies in the cache folder: how large it is, when it was last used, and how to get rid of it.

Everything there but `data` is made again when it is missing. Who writes there decides names and forms; here a kind is
a sub-folder and an entry what lies directly in it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slonik.core.errors import SlonikError

KINDS = {
    "training/states": "teachers' states of every token (compress, distill)",
    "training/vectors": "teachers' sentence vectors (compress, distill)",
    "training/tokens": "texts cut into pieces (compress, distill)",
    "embeddings": "sentence vectors of the benchmark's texts (evaluate encodechka)",
    "layers": "vectors of every layer (evaluate probing)",
    "latency": "measured times of blocks (compress)",
    "embedded": "checkpoints made from packages (embedded:...)",
    "data": "benchmark data (fetch); some has to be downloaded again",
}


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
