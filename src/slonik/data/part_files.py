"""Folders of rows in parts: Parquet and JSON Lines, read some rows at a time, and written again with more columns.

A part keeps its name, its kind and the order of its rows; columns that were there are carried along, of Parquet with
their types. Does not say what the new columns hold (see `slonik.scaling.parts`).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np

from slonik.core.errors import MissingExtra, SlonikError
from slonik.text.lines import json_line, json_lines

Kind = str | int
"""Of a new column: "text", "json" (in Parquet a text of JSON), "spans", "spans with normal forms", or the dimension of
vectors."""
Columns = Mapping[str, Sequence[Any] | np.ndarray]
"""Name -> the values of N rows; vectors as an array (N, D) of float32."""

ROWS = 1024
_ENDINGS = (".parquet", ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


@dataclass(frozen=True)
class PartFile:
    """A file of rows.

    Attributes:
        path: of it.
        name: under the folder that it was found in, with / between.
    """

    path: Path
    name: str

    @property
    def is_parquet(self) -> bool:
        return self.name.lower().endswith(".parquet")


def is_part(path: Path) -> bool:
    """Whether a file's name is that of Parquet or JSON Lines."""
    return path.name.lower().endswith(_ENDINGS)


def holds_parts(path: Path) -> bool:
    """Whether `path` is a Parquet file, or a folder in which one or a file of JSON Lines lies."""
    if path.is_dir():
        return any(is_part(file) for file in path.rglob("*"))
    return path.name.lower().endswith(".parquet")


def part_files(paths: Sequence[str | Path]) -> tuple[list[PartFile], int]:
    """(the parts in folders and files, sorted by name within a folder, how many files of folders are none).

    Raises:
        SlonikError: a path that is not there, a folder without a part, two parts of one name.
    """
    found: dict[str, PartFile] = {}
    others = 0
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            parts = [PartFile(file, file.relative_to(path).as_posix()) for file in files if is_part(file)]
            others += len(files) - len(parts)
            if not parts:
                raise SlonikError(f"no part in {path}: files that can be read: {', '.join(_ENDINGS)}")
        elif path.is_file() and is_part(path):
            parts = [PartFile(path, path.name)]
        elif path.exists():
            raise SlonikError(f"{path} is no part: files that can be read: {', '.join(_ENDINGS)}")
        else:
            raise SlonikError(f"there is no {path}: give folders of Parquet or JSON Lines, or such files")
        for part in parts:
            if part.name in found:
                raise SlonikError(f"{found[part.name].path} and {part.path} have one name: give them one --out each")
            found[part.name] = part
    return list(found.values()), others


class PartWriter(Protocol):
    """Writes the rows of a part again, with more columns."""

    def write(self, rows: Any, columns: Columns) -> None:
        """Add rows as `read_part_rows` gave them."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


def read_part_rows(part: PartFile) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """(the rows for the writer, the same ones as mappings), some at a time.

    Raises:
        SlonikError: a file that is damaged, or a line that is no object and no text.
        MissingExtra: pyarrow is not installed.
    """
    return _parquet_rows(part.path) if part.is_parquet else _json_rows(part.path)


def part_writer(part: PartFile, target: Path, kinds: Mapping[str, Kind]) -> PartWriter:
    """A writer of the rows of a part into a new file, in the part's own format.

    Args:
        kinds: name -> kind of each new column.

    Raises:
        SlonikError: the part has a column of such a name.
    """
    if part.is_parquet:
        return _ParquetPart(part, target, kinds)
    return _JsonPart(part, target, kinds)


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("reading Parquet files", "parquet", "pyarrow") from error
    return pyarrow


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    """The file, opened; what is wrong with it in a sentence."""
    arrow = _arrow()
    try:
        with arrow.parquet.ParquetFile(path) as table:
            names = table.schema_arrow.names
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise SlonikError(f"{path} has two columns {twice!r}: rename one")
            yield table
    except (arrow.ArrowException, OSError) as error:
        raise SlonikError(f"{path} is not a readable Parquet file ({str(error).splitlines()[0]})") from None


def _parquet_rows(path: Path) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    with _parquet(path) as table:
        for batch in table.iter_batches(batch_size=ROWS, use_threads=False):
            yield batch, batch.to_pylist()


def _json_rows(path: Path) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    rows: list[dict[str, Any]] = []
    for where, value in json_lines(path, keys_once=True):
        row = {"text": value} if isinstance(value, str) else value
        if not isinstance(row, dict):
            raise SlonikError(f"{where} is {json.dumps(value)[:60]}: every line is an object, or a text")
        rows.append(row)
        if len(rows) >= ROWS:
            yield rows, rows
            rows = []
    if rows:
        yield rows, rows


class _ParquetPart:
    def __init__(self, part: PartFile, target: Path, kinds: Mapping[str, Kind]) -> None:
        self._arrow, self._kinds = _arrow(), kinds
        with _parquet(part.path) as table:
            schema = table.schema_arrow
        _check_names(part, schema.names, kinds)
        self._types = {name: self._type(kind) for name, kind in kinds.items()}
        fields = [self._arrow.field(name, kind) for name, kind in self._types.items()]
        self._schema = self._arrow.schema([*schema, *fields], schema.metadata)
        self._writer = self._arrow.parquet.ParquetWriter(target, self._schema)

    def write(self, rows: Any, columns: Columns) -> None:
        arrays = [self._array(name, columns[name]) for name in self._kinds]
        self._writer.write_table(self._arrow.Table.from_arrays([*rows.columns, *arrays], schema=self._schema))

    def close(self) -> None:
        self._writer.close()

    def _type(self, kind: Kind) -> Any:
        arrow = self._arrow
        if isinstance(kind, int):
            return arrow.list_(arrow.float32(), kind)
        if kind in ("spans", "spans with normal forms"):
            fields = [("start", arrow.int64()), ("end", arrow.int64()), ("label", arrow.string()),
                      ("text", arrow.string()), ("confidence", arrow.float64())]  # fmt: skip
            fields += [("normal", arrow.string())] if kind != "spans" else []
            return arrow.list_(arrow.struct(fields))
        return arrow.string()

    def _array(self, name: str, values: Any) -> Any:
        kind, arrow = self._kinds[name], self._arrow
        if isinstance(kind, int):
            flat = arrow.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1))
            return arrow.FixedSizeListArray.from_arrays(flat, type=self._types[name])
        if kind == "json":
            values = [_as_text(value) for value in values]
        return arrow.array(values, self._types[name])


class _JsonPart:
    def __init__(self, part: PartFile, target: Path, kinds: Mapping[str, Kind]) -> None:
        self._part, self._kinds = part, kinds
        packed = part.name.lower().endswith(".gz")
        raw = open(target, "wb")  # noqa: SIM115
        self._raw = raw
        # No name and no time, so that the same rows are the same bytes.
        self._stream = cast("IO[bytes]", gzip.GzipFile("", "wb", fileobj=raw, mtime=0)) if packed else raw

    def write(self, rows: Any, columns: Columns) -> None:
        for place, row in enumerate(rows):
            _check_names(self._part, row, self._kinds)
            added = {name: self._value(name, columns[name][place]) for name in self._kinds}
            if added.get("error", "") is None:
                del added["error"]
            self._stream.write(f"{json_line(row | added)}\n".encode())

    def close(self) -> None:
        self._stream.close()
        self._raw.close()

    def _value(self, name: str, value: Any) -> Any:
        """Nine digits of each value are enough to read the same float32 back."""
        return [float(f"{one:.9g}") for one in value] if isinstance(self._kinds[name], int) else value


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _check_names(part: PartFile, there: Any, new: Mapping[str, Kind]) -> None:
    taken = next((name for name in new if name in there), None)
    if taken is not None:
        raise SlonikError(f"{part.path} has a column {taken!r} already, which would be written: rename it")
