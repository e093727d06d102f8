"""Figures from a CSV file, as other people keep them: a row per figure, columns as in result records.

Reads UTF-8 (with or without a mark) and cp1251; commas, semicolons or tabs; decimal commas. A column that is missing or
misspelt is named with the nearest one there is.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.records import Record

REQUIRED = ("model", "suite", "task", "metric", "value")
_NUMBERS = ("value", "low", "high", "seconds")
_COUNTS = ("n", "seed", "layer")
_TEXTS = ("variant",)
_HASHES = ("data", "protocol", "weights")
_DETAIL = ("reported_by", "prefix", "pooling", "source", "url")
KNOWN = (*REQUIRED, "low", "high", *_COUNTS, "seconds", *_TEXTS, *_HASHES, *_DETAIL)
_ABSENT = {"", "-", "–", "—", "nan", "none", "null", "n/a"}
_FEWEST_TO_BE_ONE = 3  # of the required columns: a table that has fewer was not meant for the board


def decoded(content: bytes, what: str) -> str:
    """Text of a file in UTF-8 or, where it is not that, in cp1251.

    Raises:
        SlonikError: UTF-16, or bytes that neither encoding has.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SlonikError(f"{what} is written in UTF-16: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("cp1251")
    except UnicodeDecodeError as error:
        raise SlonikError(f"{what} is neither UTF-8 nor cp1251 (byte {error.start}): save it as UTF-8") from None


def delimiter_of(header: str) -> str:
    """The mark between columns: of comma, semicolon and tab the most frequent one in the first line."""
    return max(",;\t", key=header.count)


def read_spreadsheet(path: str | Path, *, strict: bool = True) -> list[Record] | None:
    """Records of a CSV file.

    Args:
        strict: refuse a table that was not meant for the board, instead of giving None.

    Raises:
        SlonikError: an unreadable file, a missing or unknown column (the nearest is named), or a value that is none.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SlonikError(f"{path} cannot be read: {error.strerror or error}") from None
    if not strict and not content.isascii() and b"\0" in content[:1024]:
        return None
    text = decoded(content, str(path))
    first = text.split("\n", 1)[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(first))
    names = [name.strip().lower() for name in next(rows, [])]
    if not strict and len(set(REQUIRED) & set(names)) < _FEWEST_TO_BE_ONE:
        return None
    _check_columns(names, str(path))
    records = []
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path}, line {rows.line_num}"
        if len(row) != len(names):
            raise SlonikError(f"{where} has {len(row)} cells, the header {len(names)}: is a delimiter inside a name?")
        records.append(_record(dict(zip(names, map(str.strip, row), strict=True)), where))
    return records


def _check_columns(names: Sequence[str], path: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SlonikError(f"{path} has two columns {twice!r}: name each once")
    unknown = [name for name in names if name not in KNOWN]
    for wanted in REQUIRED:
        if wanted in names:
            continue
        near = difflib.get_close_matches(wanted, unknown, n=1, cutoff=0.5)
        hint = f"the nearest is {near[0]!r}, rename it" if near else f"there are {', '.join(names) or 'none'}"
        raise SlonikError(f"{path} has no column {wanted!r}: {hint}; the board needs {', '.join(REQUIRED)}")
    if unknown:
        near = difflib.get_close_matches(unknown[0], KNOWN, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SlonikError(
            f"{path} has a column {unknown[0]!r} that means nothing here: {hint}Known: {', '.join(KNOWN)}"
        )


def _record(row: dict[str, str], where: str) -> Record:
    fields: dict[str, Any] = {name: row[name] for name in ("model", "suite", "task", "metric")}
    empty = next((name for name, text in fields.items() if not text), None)
    if empty is not None:
        raise SlonikError(f"{where}: {empty} is empty")
    fields["suite"] = fields["suite"].lower().replace("-", "_")
    fields |= {name: row[name] for name in _TEXTS if name in row}
    fields |= {name: _number(row[name], f"{where}: {name}") for name in _NUMBERS if name in row}
    for name in _COUNTS:
        if name in row:
            number = _number(row[name], f"{where}: {name}")
            if number is not None and number != int(number):
                raise SlonikError(f"{where}: {name} is {row[name]!r}: give a whole number")
            fields[name] = None if number is None else int(number)
    fields["hashes"] = {name: row[name] for name in _HASHES if row.get(name)}
    fields["detail"] = {name: row[name] for name in _DETAIL if row.get(name)}
    return Record(**fields)


def _number(text: str, what: str) -> float | None:
    if text.lower() in _ABSENT:
        return None
    plain = text.replace("\u00a0", "").replace(" ", "").replace("−", "-").lstrip("'")
    if "," in plain and "." not in plain:
        plain = plain.replace(",", ".")
    try:
        value = float(plain)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SlonikError(f"{what} is {text!r}: give a number, a fraction where it is a score")
    return value
