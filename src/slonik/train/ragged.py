"""Rows of uneven length in two files: all values one after another, and where each row starts. Memory-mapped.

Used for token ids (tokenise once, read millions of times) and for teacher states of tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core import files
from slonik.core.errors import SlonikError, disk_error
from slonik.core.hashing import sha256_json, sha256_texts
from slonik.core.progress import progress_bar

_CHUNK_TEXTS = 4096


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
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        flat = [value for row in rows for value in row]
        return cls(np.asarray(flat, dtype=np.int32), offsets, key)

    @classmethod
    def open(cls, folder: Path) -> Ragged:
        """Rows written by `write_ragged`, memory-mapped.

        Raises:
            SlonikError: the folder is missing a file, or the sizes do not fit.
        """
        try:
            facts = json.loads((folder / "ragged.json").read_text(encoding="utf-8"))
            offsets = np.load(folder / "offsets.npy")
            values = np.load(folder / "values.npy", mmap_mode="r") if facts["total"] else np.zeros(0, facts["dtype"])
        except (OSError, EOFError, ValueError, KeyError) as error:
            raise SlonikError(f"the cache {folder} is damaged ({error}): remove it and run again") from None
        if len(values) != facts["total"] or int(offsets[-1]) != facts["total"]:
            raise SlonikError(f"the cache {folder} is cut short: remove it and run again")
        return cls(values, offsets, facts["key"])


def tokenized(
    tokenize: Callable[[Sequence[str]], Sequence[Sequence[int]]],
    texts: Sequence[str],
    folder: Path,
    *,
    identity: object,
) -> Ragged:
    """Token ids of `texts`, from the cache where they are there.

    Args:
        tokenize: texts -> ids with specials, cut to the longest length.
        folder: cache of all corpora; each (tokenizer, texts) has a folder in it.
        identity: JSON value of all that decides the ids apart from the texts: hash of the tokenizer, prefix, length.
    """
    key = sha256_json({"identity": identity, "texts": sha256_texts(texts)})

    def chunks() -> Iterator[Sequence[Sequence[int]]]:
        for start in range(0, len(texts), _CHUNK_TEXTS):
            yield tokenize(texts[start : start + _CHUNK_TEXTS])

    return write_ragged(folder / key[:24], chunks(), key=key, total=len(texts), description="tokens")


def write_ragged(
    folder: Path, chunks: Iterable[Sequence[Sequence[int]]], *, key: str, total: int, description: str
) -> Ragged:
    """Write chunks of rows of token ids to `folder` in constant memory, or open what is there under the same key.

    Args:
        folder: made whole or not at all.
        chunks: lists of rows; read only when the folder has to be made.
        key: hash of the inputs, kept beside the rows.
        total: rows expected, for the progress bar.
        description: shown beside the bar.

    Raises:
        SlonikError: full disk, or a folder made from other inputs.
    """
    if folder.exists():
        rows = Ragged.open(folder)
        if rows.key != key:
            raise SlonikError(f"the cache {folder} was made from other inputs: remove it or choose another folder")
        return rows
    lengths: list[int] = []
    with files.new_folder(folder) as temporary, progress_bar(description, total) as bar:
        raw = temporary / "values.raw"
        try:
            with open(raw, "wb") as stream:
                for chunk in chunks:
                    for row in chunk:
                        lengths.append(len(row))
                        stream.write(np.asarray(row, dtype=np.int32).tobytes())
                    bar.advance(len(chunk))
            offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
            np.cumsum(lengths, out=offsets[1:])
            _as_npy(raw, temporary / "values.npy", int(offsets[-1]))
            np.save(temporary / "offsets.npy", offsets)
        except OSError as error:
            raise disk_error(error, folder) from error
        facts = {"key": key, "total": int(offsets[-1]), "dtype": "int32"}
        (temporary / "ragged.json").write_text(json.dumps(facts), encoding="utf-8")
    return Ragged.open(folder)


def _as_npy(raw: Path, target: Path, total: int) -> None:
    """Put a NumPy header before the raw int32 values, block by block."""
    with open(raw, "rb") as source, open(target, "wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream,
            {"descr": np.lib.format.dtype_to_descr(np.dtype(np.int32)), "fortran_order": False, "shape": (total,)},
        )
        while block := source.read(1 << 22):
            stream.write(block)
    raw.unlink()
