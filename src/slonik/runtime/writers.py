"""Vectors to .npy, Parquet or JSONL, chunk by chunk; a file appears under its name only when it is whole.

Every writer takes the same rows: vectors (N, D), the input line of each, and what was wrong with it, if anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, TextIO

import numpy as np

from slonik.core.errors import MissingExtra, SlonikError, disk_error, lookup
from slonik.core.files import sweep, temporary_beside
from slonik.core.protocols import FloatArray

_NPY_HEADER_BYTES = 128
FORMATS = ("npy", "parquet", "jsonl")


class Writer(Protocol):
    """Takes chunks in order; `close` makes the output whole."""

    def write(self, vectors: FloatArray, lines: Sequence[int], errors: Sequence[str | None]) -> None:
        """Add N rows: vectors (N, D), line numbers, and the error of each bad line."""
        ...

    def close(self) -> None:
        """Finish the output."""
        ...


class NpyWriter:
    """A float32 array (N, D) whose N is written into the header at the end; readable with np.load(mmap_mode="r")."""

    def __init__(self, stream: BinaryIO, dimension: int) -> None:
        self._stream = stream
        self._dimension = dimension
        self._rows = 0
        stream.write(_npy_header(0, dimension))

    def write(self, vectors: FloatArray, lines: Sequence[int], errors: Sequence[str | None]) -> None:
        """Add rows; numbers and errors have no place in this format."""
        self._stream.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
        self._rows += len(vectors)

    def close(self) -> None:
        """Write the number of rows."""
        self._stream.seek(0)
        self._stream.write(_npy_header(self._rows, self._dimension))


class JsonlWriter:
    """One object per row: line, embedding, and error for a bad line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, vectors: FloatArray, lines: Sequence[int], errors: Sequence[str | None]) -> None:
        """Add rows; nine digits of each value are enough to read the same float32 back."""
        for vector, line, error in zip(vectors, lines, errors, strict=True):
            values = ",".join(f"{value:.9g}" for value in vector.tolist())
            tail = f', "error": {json.dumps(error, ensure_ascii=False)}' if error else ""
            self._stream.write(f'{{"line": {line}, "embedding": [{values}]{tail}}}\n')

    def close(self) -> None:
        """Nothing is left to do but flush."""
        self._stream.flush()


class ParquetWriter:
    """Columns line (int64), embedding (fixed list of float32), error (string or null).

    Raises:
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, stream: BinaryIO, dimension: int) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ModuleNotFoundError as error:
            raise MissingExtra("writing Parquet", "all", error.name) from None
        self._arrow: Any = pyarrow
        self._type = pyarrow.list_(pyarrow.float32(), dimension)
        fields = [("line", pyarrow.int64()), ("embedding", self._type), ("error", pyarrow.string())]
        self._schema = pyarrow.schema(fields)
        self._writer = pyarrow.parquet.ParquetWriter(stream, self._schema)

    def write(self, vectors: FloatArray, lines: Sequence[int], errors: Sequence[str | None]) -> None:
        """Add rows as one row group."""
        flat = self._arrow.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
        column = self._arrow.FixedSizeListArray.from_arrays(flat, type=self._type)
        columns = [
            self._arrow.array(lines, self._arrow.int64()),
            column,
            self._arrow.array(errors, self._arrow.string()),
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        """Write the file's index."""
        self._writer.close()


class VectorFile:
    """A context that gives a writer for `path`, renames the file into place on success and removes it on failure.

    Raises:
        SlonikError: an unknown format, or the disk is full.
    """

    def __init__(self, path: Path, dimension: int, kind: str | None = None) -> None:
        self._path = path
        sweep(path)
        self._temporary = temporary_beside(path)
        self._kind = kind or _kind_of(path)
        self._dimension = dimension

    def __enter__(self) -> Writer:
        """Open the temporary file."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream: Any = open(self._temporary, "w", encoding="utf-8") if self._kind == "jsonl" else None
            self._stream = self._stream or open(self._temporary, "wb")
            makers: dict[str, Callable[[], Writer]] = {
                "npy": lambda: NpyWriter(self._stream, self._dimension),
                "parquet": lambda: ParquetWriter(self._stream, self._dimension),
                "jsonl": lambda: JsonlWriter(self._stream),
            }
            self._writer: Writer = lookup(self._kind, makers, "format")()
        except OSError as error:
            raise disk_error(error, self._path) from error
        except SlonikError:
            self._drop()
            raise
        return self._writer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make the file whole, or remove what there is."""
        try:
            if kind is None:
                self._writer.close()
                self._stream.flush()
                os.fsync(self._stream.fileno())
                self._stream.close()
                os.replace(self._temporary, self._path)
        except OSError as failure:
            raise disk_error(failure, self._path) from failure
        finally:
            self._drop()
        if isinstance(error, OSError):
            raise disk_error(error, self._path) from error

    def _drop(self) -> None:
        self._stream.close()
        self._temporary.unlink(missing_ok=True)


def _kind_of(path: Path) -> str:
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise SlonikError(f"--out {path.name} ends in none of .npy, .parquet, .jsonl: rename it or give --format")
    return kind


def _npy_header(rows: int, dimension: int) -> bytes:
    """A version 1.0 header of fixed size, so that it can be written again when the number of rows is known."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}"
    room = _NPY_HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + text.ljust(room - 1).encode("ascii") + b"\n"
