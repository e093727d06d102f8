"""An array on disk that is filled from the front and can be continued after a crash.

Rows are appended to a raw file and flushed; how many are whole stands in a small JSON file beside it. Plain writes, not
a preallocated memory map: on a full disk a write fails with an error, where a mapped page would kill the process.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from slonik.core import files
from slonik.core.errors import SlonikError, disk_error


class RowFile:
    """`total` rows of one shape and type in a folder.

    Args:
        folder: made when missing; holds `rows.raw` and `rows.json`.
        key: hash of what the rows are made from; another key in the folder is refused.
        total: rows when complete.
        row_shape: shape of a row.
        dtype: type of the numbers.

    Raises:
        SlonikError: the folder was made from other inputs.
    """

    def __init__(
        self, folder: Path, *, key: str, total: int, row_shape: tuple[int, ...], dtype: DTypeLike = np.float16
    ) -> None:
        self._folder, self._key, self._total = folder, key, total
        self._shape, self._dtype = row_shape, np.dtype(dtype)
        self._row_bytes = int(np.prod(row_shape, dtype=np.int64)) * self._dtype.itemsize
        self.done = self._read_done()
        if folder.is_dir():
            os.utime(folder)  # in use: `slonik cache` shows when it was last

    def _facts(self, done: int) -> dict[str, Any]:
        return {
            "key": self._key,
            "total": self._total,
            "row_shape": list(self._shape),
            "dtype": self._dtype.name,
            "done": done,
        }

    def _read_done(self) -> int:
        path = self._folder / "rows.json"
        if not path.exists():
            return 0
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            done = int(facts["done"])
        except (ValueError, KeyError, OSError) as error:
            raise SlonikError(f"the cache {self._folder} is damaged ({error}): remove it and run again") from None
        if facts != self._facts(done):
            raise SlonikError(f"the cache {self._folder} was made from other inputs: remove it or use another folder")
        raw = self._folder / "rows.raw"
        there = raw.stat().st_size // max(1, self._row_bytes) if raw.exists() else 0
        if there < done:
            raise SlonikError(f"the cache {self._folder} is cut short: remove it and run again")
        return done

    @property
    def total_bytes(self) -> int:
        """Size when complete."""
        return self._total * self._row_bytes

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows (n, *row_shape) after those that are there.

        Raises:
            SlonikError: full disk; the rows added before are intact.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            raw = self._folder / "rows.raw"
            with open(raw, "r+b" if raw.exists() else "w+b") as stream:
                stream.truncate(self.done * self._row_bytes)
                stream.seek(0, os.SEEK_END)
                stream.write(np.ascontiguousarray(rows, dtype=self._dtype).tobytes())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise disk_error(error, self._folder) from error
        self.done += len(rows)
        files.write_json(self._folder / "rows.json", self._facts(self.done))

    def array(self) -> NDArray[Any]:
        """The complete array, memory-mapped.

        Raises:
            SlonikError: rows are missing.
        """
        if self.done != self._total:
            raise SlonikError(f"the cache {self._folder} has {self.done} of {self._total} rows: run again to fill it")
        shape = (self._total, *self._shape)
        if self._total * self._row_bytes == 0:
            return np.zeros(shape, self._dtype)
        return np.memmap(self._folder / "rows.raw", dtype=self._dtype, mode="r", shape=shape)
