"""Labelled rows of the user's own: JSON Lines, CSV or TSV with named columns (.gz too), Parquet; questions as in SQuAD.

Gives rows as they are, checked for the columns asked for; what a label means is the caller's business.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError, unknown_name
from slonik.core.progress import warn_once
from slonik.data.part_files import PartFile, read_part_rows
from slonik.text.lines import MAX_LINE_BYTES, guess_encoding, json_lines, open_bytes

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_LINE_ENDS = re.compile(r"\r\n|\n|\r")
_ABOVE_HEADER = re.compile(r"(?:[ ]*(?:\r\n|\n|\r))*(?:sep=(.)(?:\r\n|\n|\r))?(?:[ ]*(?:\r\n|\n|\r))*", re.IGNORECASE)
"""Empty lines, and the line "sep=;" that tells Excel what divides the cells."""
ENDINGS = (".parquet", *(f"{kind}{gz}" for kind in (".jsonl", ".ndjson", *_SEPARATORS) for gz in ("", ".gz")))
"""Of the files that are read here."""


@dataclass(frozen=True)
class Question:
    """A question about a text.

    Attributes:
        key: its id. context: the text.
        answers: (first character, text) of the right answers; empty: the text does not answer it.
    """

    key: str
    context: str
    question: str
    answers: tuple[tuple[int, str], ...]


def read_rows(path: str | Path, columns: Sequence[str], nullable: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows of a .jsonl, .csv, .tsv (.gz too) or .parquet file, each with every one of `columns`.

    Args:
        nullable: columns that must be there, and may be null.

    Raises:
        SlonikError: no such file, another kind of file, a line that is no object, a missing column, a null in one.
        MissingExtra: Parquet, and pyarrow is not installed.
    """
    file = Path(path)
    rows = []
    for row, where in _rows(file, [*columns, *nullable]):
        for column in columns:
            need_value(row, column, where)
        for column in nullable:
            need_column(row, column, where)
        rows.append(row)
    if not rows:
        raise SlonikError(f"{file} has no rows: give a file with at least one labelled line")
    return rows


def need_value(row: Mapping[str, Any], column: str, where: str) -> None:
    """Refuse a row without a column, and one that has null there.

    Raises:
        SlonikError: with the nearest name that there is, or naming the null as such.
    """
    need_column(row, column, where)
    if row[column] is None:
        raise SlonikError(f"{where}: {column!r} is null: fill it in, or leave the row out")


def need_column(row: Mapping[str, Any], column: str, where: str) -> None:
    """Refuse a row without a column.

    Raises:
        SlonikError: with the nearest name that there is.
    """
    if column not in row:
        raise SlonikError(f"{where}: {unknown_name(column, [name for name in row if name], 'column')}")


def _rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[dict[str, Any], str]]:
    name = file.with_suffix("") if file.suffix == ".gz" else file
    kind = name.suffix.lower()
    if kind == ".parquet":
        yield from ((row, f"{file}, row {n}") for n, row in enumerate(_parquet_rows(file), start=1))
    elif kind in (".jsonl", ".ndjson"):
        for where, row in json_lines(file, keys_once=True):
            if not isinstance(row, dict):
                raise SlonikError(f"{where} is not a JSON object")
            yield row, where
    elif kind in _SEPARATORS:
        table = read_table(file, columns)
        for row, line in zip(table.rows, table.lines, strict=True):
            yield row, f"{file}, line {line}"
    else:
        raise SlonikError(f"{file} is neither .jsonl nor .csv nor .tsv nor .parquet: rename or convert it")


def _parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    for _, rows in read_part_rows(PartFile(file, file.name)):
        yield from rows


@dataclass(frozen=True)
class CsvTable:
    """A .csv or .tsv file with a header.

    Attributes:
        header: names of the columns.
        rows: name -> cell; None where a row has fewer cells than the header.
        lines: the line on which each row ends.
        separator: between cells. encoding: of the file. line_end: between its lines.
    """

    header: list[str]
    rows: list[dict[str, Any]]
    lines: list[int]
    separator: str
    encoding: str
    line_end: str = "\n"


def read_table(path: str | Path, columns: Sequence[str] = ()) -> CsvTable:
    """A table of text with a header line.

    Office programs with a Russian locale divide the columns of a .csv by semicolons and write Windows-1251: of comma,
    semicolon and tab the one is taken with which the header has `columns`, else the most cells; a file that is not
    UTF-8 is read in the Cyrillic encoding that it looks to be in, which is said.

    Raises:
        SlonikError: no such file, no encoding that fits, two columns of one name, a row with too many cells.
    """
    file = Path(path)
    text, encoding = _text_of(file)
    kind = (file.with_suffix("") if file.suffix == ".gz" else file).suffix.lower()
    above = _ABOVE_HEADER.match(text)
    assert above is not None  # it matches nothing too
    text, before = text[above.end() :], len(_LINE_ENDS.findall(above[0]))
    separator = above[1] or _separator(text, kind, columns)
    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, lines = [], []
    try:
        header = [name.strip() for name in next(reader, [])]
        twice = next((name for name, count in Counter(header).items() if count > 1 and name), None)
        if twice is not None:
            raise SlonikError(f"{file} has two columns {twice!r}: rename one")
        unnamed = header.count("")
        for cells in reader:
            if not cells:
                continue
            if unnamed > 1 and any(cell.strip() for cell, name in zip(cells, header, strict=False) if not name):
                where = f"{file}, line {reader.line_num + before}"
                raise SlonikError(f"{where}: {unnamed} columns have no name, and there is something in one: name them")
            if len(cells) > len(header):
                where = f"{file}, line {reader.line_num + before}"
                raise SlonikError(f"{where}: more cells than the header has columns (divided by {separator!r})")
            rows.append(dict(itertools.zip_longest(header, cells)))
            lines.append(reader.line_num + before)
    except csv.Error as error:
        raise SlonikError(f"{file} is no sound table, line {reader.line_num + before}: {error}") from None
    first = _LINE_ENDS.search(text)
    return CsvTable(header, rows, lines, separator, encoding, "\n" if first is None else first[0])


def _text_of(file: Path) -> tuple[str, str]:
    """The text of a table and its encoding: UTF-8, UTF-16 with its mark, or a Cyrillic one."""
    try:
        with open_bytes(file) as stream:
            raw = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SlonikError(f"{file} is not a whole gzip file ({error}); fetch or write it again") from None
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", errors="replace"), "utf-16"
    if b"\x00" in raw:
        raise SlonikError(f"{file} holds a NUL byte: it is no table of text; save it as CSV in UTF-8")
    try:
        return raw.decode("utf-8-sig"), "utf-8-sig" if raw.startswith(codecs.BOM_UTF8) else "utf-8"
    except UnicodeDecodeError as error:
        guess = guess_encoding(raw)
        if guess is None:
            line = raw[: error.start].count(b"\n") + 1
            raise SlonikError(f"{file}, line {line}: neither UTF-8 nor a Cyrillic encoding: save it as UTF-8") from None
    warn_once(f"{file} is not UTF-8: it is read as {guess}")
    return raw.decode(guess, errors="replace"), guess


def _separator(text: str, kind: str, columns: Sequence[str]) -> str:
    first = _LINE_ENDS.split(text, maxsplit=1)[0]
    own = _SEPARATORS[kind]
    headers = {}
    for mark in dict.fromkeys((own, ",", ";", "\t")):
        with suppress(csv.Error):
            headers[mark] = [name.strip() for name in next(csv.reader([first], delimiter=mark), [])]
    fitting = [mark for mark, names in headers.items() if columns and set(columns) <= set(names)]
    return next(iter(fitting), max(headers, key=lambda mark: len(headers[mark]), default=own))


def read_questions(path: str | Path) -> list[Question]:
    """Questions of a SQuAD file (.json), or of JSON Lines with context, question, answers as `datasets` writes them.

    Raises:
        SlonikError: no such file, another form, or an answer that does not stand where it says.
    """
    file = Path(path)
    if file.suffix.lower() == ".json":
        found = list(_squad(file))
    else:
        found = [parse_question(row, str(n), f"{file}, row {n}") for n, row in enumerate(read_rows(file, ("context",)))]
    if not found:
        raise SlonikError(f"{file} has no questions")
    return found


def _squad(file: Path) -> Iterator[Question]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    row = {**asked, "context": paragraph["context"]}
                    if asked.get("is_impossible"):
                        row["answers"] = []
                    yield parse_question(row, str(asked.get("id", "")), f"{file}, question {asked.get('id')!r}")
    except FileNotFoundError:
        raise SlonikError(f"there is no file {file}: mend the path") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SlonikError(f"{file} is not readable JSON ({error})") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise SlonikError(f"{file} has not the form of SQuAD (data, paragraphs, qas): {error}") from None


def parse_question(row: dict[str, Any], key: str, where: str) -> Question:
    """One question; `answers` as SQuAD's list of objects, as `datasets`' object of lists, or absent.

    Raises:
        SlonikError: a missing text, or an answer that does not stand in the context where it says.
    """
    context, question = row.get("context"), row.get("question")
    if not isinstance(context, str) or not isinstance(question, str):
        raise SlonikError(f"{where}: 'context' or 'question' is missing or not a text")
    given = row.get("answers") or []
    try:
        if isinstance(given, dict):
            pairs = list(zip(given["answer_start"], given["text"], strict=True))
        else:
            pairs = [(answer["answer_start"], answer["text"]) for answer in given]
        answers = tuple((int(start), str(text)) for start, text in pairs)
    except (KeyError, TypeError, ValueError) as error:
        raise SlonikError(f"{where}: 'answers' is not a list of answer_start and text ({error})") from None
    for start, text in answers:
        if context[start : start + len(text)] != text:
            raise SlonikError(f"{where}: the answer {text!r} does not stand at character {start} of the context")
    return Question(str(row.get("id", key)), context, question, answers)
