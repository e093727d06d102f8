"""The board's data as one compressed block: a JSON header, then columns of numbers as bytes, all of it gzip.

    4 bytes: length of the header, little endian; the header; zeros up to a multiple of 8; the columns one after another

Numbers of a cell lie in arrays of their own (values of 64 bits, ends of intervals of 32), so that a browser takes
200,000 of them by a view of memory and parses none.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.reporting.board.cells import BoardTable

FORMAT = 1
_COLUMNS: tuple[tuple[str, str], ...] = (
    ("value", "<f8"), ("low", "<f4"), ("high", "<f4"), ("row", "<u4"), ("column", "<u4"), ("n", "<u4"), ("how", "<i4"),
    ("rankLow", "<u2"), ("rankHigh", "<u2"), ("flags", "<u1"),
)  # fmt: skip


def packed(header: Mapping[str, Any], tables: Sequence[BoardTable]) -> bytes:
    """The compressed block; equal content gives equal bytes.

    Args:
        header: everything but the tables' cells; "tables" is added to it.
    """
    cells = [cell for table in tables for cell in table.cells]
    arrays: dict[str, NDArray[Any]] = {
        "value": np.array([cell.value for cell in cells], "<f8"),
        "low": np.array([cell.low for cell in cells], "<f4"),
        "high": np.array([cell.high for cell in cells], "<f4"),
        "row": np.array([cell.row for cell in cells], "<u4"),
        "column": np.array([cell.column for cell in cells], "<u4"),
        "n": np.array([min(cell.n, 2**32 - 1) for cell in cells], "<u4"),
        "how": np.array([cell.how for cell in cells], "<i4"),
        "rankLow": np.array([min(cell.rank[0], 65535) for cell in cells], "<u2"),
        "rankHigh": np.array([min(cell.rank[1], 65535) for cell in cells], "<u2"),
        "flags": np.array([cell.flags for cell in cells], "<u1"),
    }
    models = {name: number for number, name in enumerate(model["n"] for model in header["models"])}
    told, start = [], 0
    for table in tables:
        told.append(_table(table, models, start))
        start += len(table.cells)
    content = {"format": FORMAT, **header, "tables": told, "cells": len(cells), "arrays": [list(c) for c in _COLUMNS]}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(
        "utf-8", "backslashreplace"
    )
    block = struct.pack("<I", len(text)) + text
    block += b"\0" * (-len(block) % 8)
    for name, kind in _COLUMNS:
        data = arrays[name].astype(kind).tobytes()
        block += data + b"\0" * (-len(data) % 8)
    return gzip.compress(block, compresslevel=6, mtime=0)


def _table(table: BoardTable, models: Mapping[str, int], start: int) -> dict[str, Any]:
    return {
        "id": table.id,
        "title": table.title,
        "suite": table.suite,
        "variant": table.variant,
        "columns": [vars(column) for column in table.columns],
        "rows": [[models[model], qualifier, standing, by] for model, qualifier, standing, by in table.rows],
        "start": start,
        "count": len(table.cells),
        "notes": table.notes,
        "paired": [
            [*place, *(None if number != number else number for number in found)]
            for place, found in table.paired.items()
        ],
        "extra": [list(one) for one in table.extra],
    }


def unpacked(block: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and columns of `packed`."""
    raw = gzip.decompress(block)
    (length,) = struct.unpack_from("<I", raw)
    header = json.loads(raw[4 : 4 + length])
    place = 4 + length + (-(4 + length) % 8)
    arrays = {}
    for name, kind in header["arrays"]:
        size = np.dtype(kind).itemsize * header["cells"]
        arrays[name] = np.frombuffer(raw, kind, header["cells"], place)
        place += size + (-size % 8)
    return header, arrays


def as_text(block: bytes) -> str:
    """Base64, for a page that has to open from a file without a request."""
    return base64.b64encode(block).decode("ascii")
