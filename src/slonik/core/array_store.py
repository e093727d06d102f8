"""Arrays that are expensive to compute, kept on disk by what they depend on: same identity and text, same rows.

`ArrayStore` files rows by text: sentence vectors, vectors of words, layers; two tasks and two runs share them.
`RowArray` is one array in the order of a corpus, filled from the front and continued after a crash: what teachers say.
Each identity has a folder under the root. Reads are memory-mapped; what is appended is whole or absent; an identity
that is opened is marked as used, so that `prune_store` and `slonik cache` drop the unused first. Nothing here computes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from slonik.core.errors import SlonikError, disk_error
from slonik.core.files import Lock, folder_size, new_file, write_json
from slonik.core.hashing import sha256_json

FORMAT = 1
_KEY_BYTES = 16
_ALIGNED = 64
_CHUNKS = "*.arrays"


def text_key(text: str) -> bytes:
    """What a text is filed under: 16 bytes of its hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_KEY_BYTES]


class ArrayStore:
    """Named arrays of texts under one identity; a text has one row, or several (one per word).

    Args:
        root: the folder of all identities; None keeps everything in memory.
        identity: what the arrays depend on besides the text: hashes of checkpoint and code, prefix, pooling; JSON
            values only.
    """

    def __init__(self, root: Path | None, identity: Mapping[str, Any]) -> None:
        self._identity = {"format": FORMAT, **identity}
        self._folder = None if root is None else _folder_of(root, self._identity)
        self._chunks: list[dict[str, NDArray[Any]]] = []
        self._places: dict[bytes, tuple[int, int, int]] = {}
        if self._folder is not None and self._folder.is_dir():
            os.utime(self._folder)  # in use: the last to be dropped
            for path in sorted(self._folder.glob(_CHUNKS)):
                self._open(path)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, text: str) -> bool:
        return text_key(text) in self._places

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays that there are, in the order in which they were added."""
        return tuple(dict.fromkeys(name for chunk in self._chunks for name in chunk))

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Those of `texts` that there are no arrays of, each once, in their order."""
        return [text for text in dict.fromkeys(texts) if text not in self]

    def find(self, text: str) -> dict[str, NDArray[Any]] | None:
        """Name -> rows (n, ...) of a text, as they are kept; None where there are none."""
        place = self._places.get(text_key(text))
        if place is None:
            return None
        chunk, start, end = place
        return {name: rows[start:end] for name, rows in self._chunks[chunk].items()}

    def take(self, name: str, texts: Sequence[str], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """The first row of every text, (N, ...), in their order.

        Raises:
            KeyError: a text, or a name, that is not there.
        """
        places = np.array([self._places[text_key(text)][:2] for text in texts], dtype=np.int64).reshape(-1, 2)
        shape = self._chunks[places[0, 0]][name].shape[1:] if len(places) else ()
        found = np.empty((len(texts), *shape), dtype=dtype)
        for chunk in np.unique(places[:, 0]):
            rows = np.flatnonzero(places[:, 0] == chunk)
            found[rows] = self._chunks[chunk][name][places[rows, 1]]
        return found

    def add(
        self, texts: Sequence[str], arrays: Mapping[str, NDArray[Any]], lengths: Sequence[int] | None = None
    ) -> None:
        """File the rows of `texts`, on disk as one chunk, whole or not at all; a text that is there is replaced.

        Args:
            arrays: name -> (rows, ...) of all texts one after another, in the type in which they are to be kept.
            lengths: rows of each text; default one.

        Raises:
            ValueError: an array has another number of rows.
            SlonikError: the disk is full or not writable.
        """
        counts = np.ones(len(texts), np.int64) if lengths is None else np.asarray(lengths, dtype=np.int64)
        for name, rows in arrays.items():
            if len(counts) != len(texts) or len(rows) != counts.sum():
                raise ValueError(f"{name} has {len(rows)} rows, {len(texts)} texts have {counts.sum()}")
        keys = b"".join(text_key(text) for text in texts)
        if self._folder is None:
            self._file(keys, counts, dict(arrays))
            return
        if not (self._folder / "identity.json").exists():
            write_json(self._folder / "identity.json", self._identity)
        path = self._folder / _CHUNKS.replace("*", uuid.uuid4().hex)
        with new_file(path) as temporary, open(temporary, "wb") as stream:
            _write_chunk(stream, keys, counts, arrays)
        self._open(path)

    def _open(self, path: Path) -> None:
        try:
            keys, counts, arrays = _read_chunk(path)
            if len(keys) != len(counts) * _KEY_BYTES or any(len(rows) != counts.sum() for rows in arrays.values()):
                raise ValueError("lengths do not add up")
        except (OSError, ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)  # its texts are computed again
            return
        self._file(keys, counts, arrays)

    def _file(self, keys: bytes, counts: NDArray[np.int64], arrays: dict[str, NDArray[Any]]) -> None:
        ends = np.cumsum(counts)
        for number, (count, end) in enumerate(zip(counts.tolist(), ends.tolist(), strict=True)):
            key = keys[number * _KEY_BYTES : (number + 1) * _KEY_BYTES]
            self._places[key] = (len(self._chunks), end - count, end)
        self._chunks.append(arrays)


class RowArray:
    """`total` rows of one shape and type, filled from the front.

    Rows are appended to a raw file and flushed; how many are whole stands in a small JSON file beside it. Plain writes,
    not a preallocated memory map: on a full disk a write fails with an error, where a mapped page would kill the
    process.

    Args:
        root: the folder of all identities.
        identity: all that decides the rows, texts included; JSON values only.
        total: rows when complete.
        row_shape: shape of a row.
        dtype: type of the numbers.

    Attributes:
        done: rows that are there.

    Raises:
        SlonikError: what is there is damaged.
    """

    def __init__(
        self,
        root: Path,
        identity: Mapping[str, Any],
        *,
        total: int,
        row_shape: tuple[int, ...],
        dtype: DTypeLike = np.float16,
    ) -> None:
        self._shape, self._dtype, self._total = row_shape, np.dtype(dtype), total
        shape = {"total": total, "row_shape": list(row_shape), "dtype": self._dtype.name}
        self._identity = {"format": FORMAT, **identity, **shape}
        self._folder = _folder_of(root, self._identity)
        self._row_bytes = int(np.prod(row_shape, dtype=np.int64)) * self._dtype.itemsize
        self.done = self._read_done()
        if self._folder.is_dir():
            os.utime(self._folder)

    @property
    def total_bytes(self) -> int:
        """Size when complete."""
        return self._total * self._row_bytes

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows (n, *row_shape) after those that are there.

        Raises:
            SlonikError: full disk; the rows added before are intact. Or another process fills the same array.
        """
        lock = Lock(self._folder / "lock", f"the cache {self._folder}")
        lock.take()
        try:
            if self._read_done() != self.done:
                raise SlonikError(f"another process fills the cache {self._folder}: wait for it and run again")
            raw = self._folder / "rows.raw"
            with open(raw, "r+b" if raw.exists() else "w+b") as stream:
                stream.truncate(self.done * self._row_bytes)
                stream.seek(0, os.SEEK_END)
                stream.write(np.ascontiguousarray(rows, dtype=self._dtype).tobytes())
                stream.flush()
                os.fsync(stream.fileno())
            write_json(self._folder / "rows.json", {"done": self.done + len(rows), "identity": self._identity})
            self.done += len(rows)
        except OSError as error:
            raise disk_error(error, self._folder) from error
        finally:
            lock.release()

    def array(self) -> NDArray[Any]:
        """The complete array, memory-mapped.

        Raises:
            SlonikError: rows are missing.
        """
        if self.done != self._total:
            raise SlonikError(f"the cache {self._folder} has {self.done} of {self._total} rows: run again to fill it")
        shape = (self._total, *self._shape)
        if self.total_bytes == 0:
            return np.zeros(shape, self._dtype)
        return np.memmap(self._folder / "rows.raw", dtype=self._dtype, mode="r", shape=shape)

    def _read_done(self) -> int:
        path, raw = self._folder / "rows.json", self._folder / "rows.raw"
        if not path.exists():
            return 0
        try:
            done = int(json.loads(path.read_text(encoding="utf-8"))["done"])
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise SlonikError(f"the cache {self._folder} is damaged ({error}): remove it and run again") from None
        if (raw.stat().st_size if raw.exists() else 0) < done * self._row_bytes:
            raise SlonikError(f"the cache {self._folder} is cut short: remove it and run again")
        return done


def prune_store(root: Path, largest: int) -> None:
    """Drop the identities unused for longest until those under `root` fit `largest` bytes.

    Raises:
        SlonikError: a folder cannot be removed.
    """
    if not root.is_dir():
        return
    total = 0
    for folder in sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime):
        total += folder_size(folder)
        if total > largest:
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise SlonikError(f"cannot remove {folder} from the cache: {error.strerror}") from None


def _folder_of(root: Path, identity: Mapping[str, Any]) -> Path:
    return root / sha256_json(dict(identity))[:32]


def _write_chunk(stream: IO[bytes], keys: bytes, counts: NDArray[np.int64], arrays: Mapping[str, NDArray[Any]]) -> None:
    """A line of JSON that says what follows, padded to 64 bytes; then keys, counts and arrays, each so aligned."""
    parts: dict[str, NDArray[Any]] = {"": np.frombuffer(keys, np.uint8), " ": counts, **arrays}
    facts = [[name, rows.dtype.str, list(rows.shape)] for name, rows in parts.items()]
    header = json.dumps(facts).encode() + b"\n"
    stream.write(header + bytes(-len(header) % _ALIGNED))
    for rows in parts.values():
        content = np.ascontiguousarray(rows).tobytes()
        stream.write(content + bytes(-len(content) % _ALIGNED))


def _read_chunk(path: Path) -> tuple[bytes, NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Keys, rows of each text, and arrays that are mapped when they are used."""
    with open(path, "rb") as stream:
        header = stream.readline()
        facts = json.loads(header)
    size = path.stat().st_size
    start = len(header) + -len(header) % _ALIGNED
    parts: list[tuple[str, NDArray[Any]]] = []
    for name, dtype, shape in facts:
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise ValueError("objects are not read")
        length = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        if start + length > size:
            raise ValueError("the file is cut short")
        empty = np.zeros(shape, kind)
        rows = np.memmap(path, kind, "r", start, tuple(shape)) if length else empty
        parts.append((name, rows))
        start += length + -length % _ALIGNED
    (_, keys), (_, counts), *arrays = parts
    return keys.tobytes(), np.array(counts, dtype=np.int64), dict(arrays)
