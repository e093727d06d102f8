"""Labelled rows of the user's own: JSON Lines, CSV or TSV with named columns (.gz too), and questions as in SQuAD.

Gives rows as they are, checked for the columns asked for; what a label means is the caller's business.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError, unknown_name
from slonik.text.lines import MAX_LINE_BYTES, json_lines, numbered_lines

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
ENDINGS = tuple(f"{kind}{packed}" for kind in (".jsonl", *_SEPARATORS) for packed in ("", ".gz"))
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


def read_rows(path: str | Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a .jsonl, .csv or .tsv file (.gz too), each with every one of `columns`.

    Raises:
        SlonikError: no such file, another kind of file, not UTF-8, a line that is no object, a missing column.
    """
    file = Path(path)
    rows = []
    for row, where in _rows(file):
        for column in columns:
            if row.get(column) is None:
                raise SlonikError(f"{where}: {unknown_name(column, list(row), 'column')}")
        rows.append(row)
    if not rows:
        raise SlonikError(f"{file} has no rows: give a file with at least one labelled line")
    return rows


def _rows(file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    name = file.with_suffix("") if file.suffix == ".gz" else file
    kind = name.suffix.lower()
    if kind not in (".jsonl", *_SEPARATORS):
        raise SlonikError(f"{file} is neither .jsonl nor .csv nor .tsv: rename or convert it")
    if kind == ".jsonl":
        for where, row in json_lines(file):
            if not isinstance(row, dict):
                raise SlonikError(f"{where} is not a JSON object")
            yield row, where
        return
    lines = (line + "\n" for _, line in numbered_lines(file))
    header = next(lines, "")
    # office programs with a Russian locale divide the columns of a .csv by semicolons
    separator = ";" if kind == ".csv" and ";" in header and "," not in header else _SEPARATORS[kind]
    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.DictReader(itertools.chain([header], lines), delimiter=separator, strict=True)
    try:
        for row in reader:
            if None in row:
                raise SlonikError(f"{file}, line {reader.line_num}: more cells than the header has columns")
            yield {str(name): value for name, value in row.items()}, f"{file}, line {reader.line_num}"
    except csv.Error as error:
        raise SlonikError(f"{file} is no sound table: {error}") from None


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
