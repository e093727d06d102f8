"""The user's rows, wherever they are: a file, mappings, or a table in memory; their names in sentences, their hash.

What a column means is the business of `own_rows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.identity import file_identity, rows_identity
from slonik.data.labelled import Question, need_column, need_value, parse_question, read_questions, read_rows

Rows = str | Path | Sequence[Mapping[str, Any]] | Any
"""Labelled rows: a file, mappings, or a table of pandas, polars, Arrow or datasets."""
_EXPORTS: dict[str, tuple[str, ...]] = {"to_dicts": (), "to_pylist": (), "to_list": (), "to_dict": ("records",)}
"""Methods of such tables (polars, Arrow, datasets, pandas) that give their rows."""


def source_name(source: Rows | None) -> str | None:
    """What rows are called in sentences and recipes."""
    return None if source is None else str(source) if isinstance(source, str | Path) else "the data"


def rows_hash(source: Rows) -> str:
    """Hash of a file, or of rows in memory."""
    return file_identity(source) if isinstance(source, str | Path) else rows_identity(source)


def row_place(source: Rows, number: int) -> str:
    """A row for people, who count from one."""
    return f"{source_name(source)}, row {number + 1}"


def read_labelled(source: Rows, columns: Sequence[str], label: str | None = None) -> list[dict[str, Any]]:
    """Rows that have every one of `columns`, and the column `label`, which may be null.

    Raises:
        SlonikError: no rows, a missing column, or what `read_rows` raises of a file.
    """
    optional = [] if label is None else [label]
    if isinstance(source, str | Path):
        return read_rows(source, columns, optional)
    rows = rows_in_memory(source)
    if not rows:
        raise SlonikError("the data has no rows: give at least one labelled row")
    for number, row in enumerate(rows):
        for column in columns:
            need_value(row, column, row_place(source, number))
        for column in optional:
            need_column(row, column, row_place(source, number))
    return rows


def read_asked(source: Rows) -> list[Question]:
    """Questions about texts.

    Raises:
        SlonikError: as `read_questions`.
    """
    if isinstance(source, str | Path):
        return read_questions(source)
    return [parse_question(row, str(n), row_place(source, n)) for n, row in enumerate(rows_in_memory(source))]


def rows_of(source: Rows | None) -> Rows | None:
    """What can be read more than once: a path as it is, anything else as `rows_in_memory`."""
    return source if source is None or isinstance(source, str | Path) else rows_in_memory(source)


def is_table(source: Any) -> bool:
    """Whether it is a table of one of the known packages."""
    return any(hasattr(source, name) for name in _EXPORTS)


def rows_in_memory(source: Rows) -> list[dict[str, Any]]:
    """Rows of a table or of mappings, with Python's own values; what a table has as not a number is None.

    Raises:
        SlonikError: something else.
    """
    export = next((name for name in _EXPORTS if hasattr(source, name)), "")
    records: Any = getattr(source, export)(*_EXPORTS[export]) if export else source
    try:
        rows = [{str(name): _plain(value) for name, value in row.items()} for row in records]
    except (AttributeError, TypeError):
        raise SlonikError(
            f"the data is of type {type(source).__name__}: give the path of a .jsonl, .csv or .tsv file, a list of "
            "mappings, or a data frame"
        ) from None
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return None if isinstance(value, float) and np.isnan(value) else value
