"""Rows of uneven length in two files: all values one after another, and where each row starts. Memory-mapped.

Used for token ids (tokenise once, read millions of times) and for teacher states of tokens.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core import files
from slonik.core.errors import SlonikError, disk_error
from slonik.core.hashing import sha256_json
from slonik.core.identity import code_identity, texts_identity
from slonik.core.progress import progress_bar

_CHUNK_TEXTS = 4096
_VALUES = np.dtype("<i4")


class Ragged(Sequence[NDArray[Any]]):
    """N rows; row i is `values[offsets[i]:offsets[i + 1]]`.

    Args:
        values: (total, ...) array, memory-mapped or not.
        offsets: (N + 1,) int64.
        key: hash of what the rows were made from; part of a loader's fingerprint.
    """

    def __init__(self, values: NDArray[Any], offsets: NDArray[np.int64], key: str = "") -> None:
        self.values = values
        self.offsets = offsets
        self.key = key

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        """Row `index` (an integer) as a view."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) length of each row."""
        return np.diff(self.offsets)

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], key: str = "") -> Ragged:
        """Rows of integers in memory."""
        values = np.fromiter(itertools.chain.from_iterable(rows), dtype=_VALUES)
        return cls(values, _offsets([len(row) for row in rows]), key)

    @classmethod
    def open(cls, folder: Path) -> Ragged:
        """Rows written by `tokenized`, memory-mapped.

        Raises:
            SlonikError: the folder is missing a file, or the sizes do not fit.
        """
        raw = folder / "values.raw"
        try:
            key = json.loads((folder / "ragged.json").read_text(encoding="utf-8"))["key"]
            offsets = np.load(folder / "offsets.npy")
            size, total = raw.stat().st_size, int(offsets[-1])
            values = np.memmap(raw, _VALUES, mode="r") if size else np.zeros(0, _VALUES)
        except (OSError, EOFError, ValueError, KeyError) as error:
            raise SlonikError(f"the cache {folder} is damaged ({error}): remove it and run again") from None
        if size != total * _VALUES.itemsize:
            raise SlonikError(f"the cache {folder} is cut short: remove it and run again")
        return cls(values, offsets, key)


def tokenized(
    tokenize: Callable[[Sequence[str]], Sequence[Sequence[int]]],
    texts: Sequence[str],
    folder: Path,
    *,
    identity: object,
) -> Ragged:
    """Token ids of `texts`, from the cache where they are there; otherwise written in constant memory.

    Args:
        tokenize: texts -> ids with specials, cut to the longest length; its code is part of the key.
        folder: cache of all corpora; each (tokenizer, texts, code) has a folder in it, whole or absent.
        identity: JSON value of all that decides the ids apart from the texts: hash of the tokenizer, prefix, length.

    Raises:
        SlonikError: full disk, or a damaged cache.
    """
    key = sha256_json({"identity": identity, "texts": texts_identity(texts), "code": code_identity(work=tokenize)})
    target = folder / key[:24]
    if target.exists():
        return Ragged.open(target)
    lengths: list[int] = []
    with files.new_folder(target) as temporary, progress_bar("tokens", len(texts)) as bar:
        try:
            with open(temporary / "values.raw", "wb") as stream:
                for start in range(0, len(texts), _CHUNK_TEXTS):
                    rows = tokenize(texts[start : start + _CHUNK_TEXTS])
                    lengths += map(len, rows)
                    stream.write(np.fromiter(itertools.chain.from_iterable(rows), dtype=_VALUES).tobytes())
                    bar.advance(len(rows))
            np.save(temporary / "offsets.npy", _offsets(lengths))
        except OSError as error:
            raise disk_error(error, target) from error
        (temporary / "ragged.json").write_text(json.dumps({"key": key}), encoding="utf-8")
    return Ragged.open(target)


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
