"""What tasks leave for each other in the work folder: documents, and marks by which documents are compared.

Everything goes through fsspec: the folder may be a disk of this machine, one that a cluster shares, or a bucket.
Documents are Parquet (zstd), read and written some at a time. Marks are records of 64-bit hash and number of the
document, sorted by hash, behind a table of where the hashes of each of 4096 ranges begin: a task that compares one
range over all parts reads two stretches of each part's file.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra

RANGES = 4096
MARK = np.dtype([("mark", "<u8"), ("document", "<u4")])
"""A hash of a document's content, and the document's number in its part."""
PLACE = np.dtype([("part", "<u4"), ("document", "<u4")])
_TABLE = np.dtype("<u8")
_GROUP_BYTES = 4 * 1024 * 1024
_BATCH_ROWS = 512


class Store:
    """The work folder.

    Args:
        url: path or URL.

    Raises:
        SlonikError: a URL that fsspec does not know.
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
            from datatrove.io import get_datafolder
        except ImportError as error:
            raise MissingExtra("preparing corpora at size", "scale", error.name or "datatrove") from error
        self.url = url
        self.folder = get_datafolder(url)
        self._arrow: Any = pyarrow
        self._schema = pyarrow.schema([("text", pyarrow.large_string()), ("source", pyarrow.string())])

    def exists(self, name: str) -> bool:
        """Whether something of this name is there."""
        return bool(self.folder.exists(name))

    def write_json(self, name: str, content: Any) -> None:
        """Write JSON with sorted names."""
        with self.folder.open(name, "wb") as stream:
            stream.write(json.dumps(content, ensure_ascii=False, sort_keys=True, indent=1).encode("utf-8"))

    def read_json(self, name: str) -> Any:
        """Read what `write_json` wrote."""
        with self.folder.open(name, "rb") as stream:
            return json.loads(stream.read())

    @contextmanager
    def documents_to(self, name: str) -> Iterator[DocumentWriter]:
        """A writer of documents into a new file."""
        with self.folder.open(name, "wb") as stream:
            writer = DocumentWriter(self._arrow, stream, self._schema)
            try:
                yield writer
            finally:  # also of a task that fails: what it wrote does not count
                writer.close()

    def documents(self, name: str) -> Iterator[tuple[str, str]]:
        """(text, source) of every document of a file, in order."""
        with self.folder.open(name, "rb") as stream, self._arrow.parquet.ParquetFile(stream) as table:
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                yield from zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)

    def write_marks(self, name: str, marks: NDArray[np.uint64], documents: NDArray[np.uint32]) -> None:
        """Write (hash, document) records: sorted by hash, equal ones by document."""
        order = np.lexsort((documents, marks))
        records = np.empty(len(marks), MARK)
        records["mark"], records["document"] = marks[order], documents[order]
        edges = np.arange(1, RANGES, dtype=np.uint64) << np.uint64(64 - RANGES.bit_length() + 1)
        table = np.zeros(RANGES + 1, _TABLE)
        table[1:-1] = np.searchsorted(records["mark"], edges, side="left")
        table[-1] = len(records)
        with self.folder.open(name, "wb") as stream:
            stream.write(table.tobytes())
            stream.write(records.tobytes())

    def marks(self, name: str, first: int, last: int) -> NDArray[Any]:
        """Records of the hash ranges `first` .. `last` - 1 of a file."""
        with self.folder.open(name, "rb") as stream:
            table = np.frombuffer(stream.read((RANGES + 1) * _TABLE.itemsize), _TABLE)
            start, end = int(table[first]), int(table[last])
            stream.seek(table.nbytes + start * MARK.itemsize)
            return np.frombuffer(stream.read((end - start) * MARK.itemsize), MARK)

    def write_places(self, name: str, places: NDArray[Any], parts: int) -> None:
        """Write (part, document) records, sorted, behind a table of where each part's begin."""
        places = np.unique(places)
        table = np.searchsorted(places["part"], np.arange(parts + 1), side="left").astype(_TABLE)
        with self.folder.open(name, "wb") as stream:
            stream.write(table.tobytes())
            stream.write(places.tobytes())

    def places(self, names: Iterable[str], part: int, parts: int) -> set[int]:
        """The documents of a part, of `parts`, that any of the files names."""
        found: set[int] = set()
        begin = (parts + 1) * _TABLE.itemsize
        for name in names:
            with self.folder.open(name, "rb") as stream:
                stream.seek(part * _TABLE.itemsize)
                start, end = (int(value) for value in np.frombuffer(stream.read(2 * _TABLE.itemsize), _TABLE))
                if end > start:
                    stream.seek(begin + start * PLACE.itemsize)
                    records = np.frombuffer(stream.read((end - start) * PLACE.itemsize), PLACE)
                    found.update(records["document"].tolist())
        return found


class DocumentWriter:
    """Gathers documents and writes them in groups of some MB."""

    def __init__(self, arrow: Any, stream: io.IOBase, schema: Any) -> None:
        self._arrow = arrow
        self._writer = arrow.parquet.ParquetWriter(stream, schema, compression="zstd", compression_level=1)
        self._schema = schema
        self._texts: list[str] = []
        self._sources: list[str] = []
        self._size = 0

    def add(self, text: str, source: str) -> None:
        """Add a document."""
        self._texts.append(text)
        self._sources.append(source)
        self._size += len(text) + 64
        if self._size >= _GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if not self._texts:
            return
        columns = [[_encodable(text) for text in column] for column in (self._texts, self._sources)]
        arrays = [self._arrow.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self._texts, self._sources, self._size = [], [], 0


def _encodable(text: str) -> str:
    """`text` with lone surrogates as question marks, which is what the tokenizer is given for them."""
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
