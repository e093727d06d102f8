"""Vectors to .npy, Parquet or JSONL, chunk by chunk; a file appears under its name only when it is whole.

Every writer takes the same rows: vectors (N, D), the input line of each, and what was wrong with it, if anything.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO

import numpy as np

from slonik.core.errors import MissingExtra, SlonikError, lookup
from slonik.core.files import new_file, real_target, sweep
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
            raise MissingExtra("writing Parquet", "parquet", error.name) from None
        self._arrow: Any = pyarrow
        self._type = pyarrow.list_(pyarrow.float32(), dimension)
        fields = [("line", pyarrow.int64()), ("embedding", self._type), ("error", pyarrow.string())]
        self._schema = pyarrow.schema(fields)
        self._writer = pyarrow.parquet.ParquetWriter(stream, self._schema)

    def write(self, vectors: FloatArray, lines: Sequence[int], errors: Sequence[str | None]) -> None:
        flat = self._arrow.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
        column = self._arrow.FixedSizeListArray.from_arrays(flat, type=self._type)
        columns = [
            self._arrow.array(lines, self._arrow.int64()),
            column,
            self._arrow.array(errors, self._arrow.string()),
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def vector_file(path: Path, dimension: int, kind: str | None = None) -> AbstractContextManager[Writer]:
    """A context that gives a writer for `path`: the file is there on success, whole, and absent on failure.

    Args:
        kind: of `FORMATS`; default: the ending of `path`.

    Raises:
        SlonikError: an unknown format (at once), or the disk is full.
    """
    return _written(path, dimension, kind or _kind_of(path))


@contextmanager
def open_vectors(out: Path | None, dimension: int, kind: str | None = None) -> Iterator[Writer]:
    """A writer for the file `out` (see `vector_file`), or where it is None of JSON Lines on standard output.

    Raises:
        SlonikError: a format that does not go to standard output, or what `vector_file` says.
    """
    if out is not None:
        with vector_file(out, dimension, kind) as writer:
            yield writer
        return
    if kind not in (None, "jsonl"):
        raise SlonikError(f"--format {kind} needs --out FILE: only jsonl goes to stdout")
    stdout = JsonlWriter(sys.stdout)
    yield stdout
    stdout.close()


@contextmanager
def _written(path: Path, dimension: int, kind: str) -> Iterator[Writer]:
    sweep(real_target(path))
    with new_file(path) as temporary, open(temporary, "wb") as stream:
        makers: dict[str, Callable[[], Writer]] = {
            "npy": lambda: NpyWriter(stream, dimension),
            "parquet": lambda: ParquetWriter(stream, dimension),
            "jsonl": lambda: JsonlWriter(io.TextIOWrapper(stream, encoding="utf-8")),
        }
        writer = lookup(kind, makers, "format")()
        yield writer
        writer.close()


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
