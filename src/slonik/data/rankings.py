"""Queries with documents that answer them and documents that do not, of the user's own: what rerankers learn from.

Does: rows of files (JSON Lines, CSV, TSV, .gz too; Parquet) or in memory, in two forms, and sets in the form of BEIR. A
row is (query, document, label), the label a grade, above 0 relevant; or (query, positive, negative), each of the two
one text or several. Rows of one query are put together; what cannot be used is counted and said.
Does not: split, mine negatives, or know what a model is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.core.errors import MissingExtra, SlonikError, unknown_name
from slonik.core.hashing import sha256_json, sha256_texts
from slonik.data.labelled import read_rows
from slonik.data.retrieval import find_sets, read_set

POSITIVES = ("positive", "positives", "pos")
NEGATIVES = ("negative", "negatives", "neg")
"""Columns of the second form; `negative_1`, `negative_2`, ... too."""
_FAULTS = {
    "query": "without a query",
    "document": "without a document",
    "label": "without a label",
    "positive": "without a positive document",
    "repeated": "whose document and grade stand there already",
    "grades": "whose document has another grade elsewhere: the higher one counts",
    "both": "whose document is both positive and negative: it counts as positive",
    "negative": "with a grade below 0: it counts as 0",
}
"""Fault -> what is said of rows that have it."""


@dataclass(frozen=True)
class Asked:
    """A query and what is known of its documents.

    Attributes:
        text: the query.
        grades: document number -> grade; above 0 is relevant.
    """

    text: str
    grades: Mapping[int, float]

    @property
    def relevant(self) -> list[int]:
        """Numbers of its relevant documents."""
        return [number for number, grade in self.grades.items() if grade > 0]


@dataclass(frozen=True)
class Rankings:
    """Documents, and queries about them.

    Attributes:
        documents: texts, each once.
        queries: each once, with at least one relevant document.
        notes: what was left out or put together, in sentences.
    """

    documents: Sequence[str]
    queries: Sequence[Asked]
    notes: tuple[str, ...] = ()

    def identity(self) -> str:
        """Hash of all of it."""
        grades = [[sorted(asked.grades.items())] for asked in self.queries]
        return sha256_json([sha256_texts([*self.documents, *(asked.text for asked in self.queries)]), grades])


@dataclass
class _Gathered:
    """Rows put together: documents by their text, grades by query."""

    documents: dict[str, int] = field(default_factory=dict)
    grades: dict[str, dict[int, float]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    rows: int = 0

    def add(self, query: str, document: str, grade: float) -> None:
        number = self.documents.setdefault(document.strip(), len(self.documents))
        if grade < 0:
            self.faults["negative"] += 1
            grade = 0.0
        grades = self.grades.setdefault(query.strip(), {})
        before = grades.get(number)
        if before is None:
            grades[number] = grade
            return
        contradicts = (before > 0) != (grade > 0)
        self.faults["repeated" if before == grade else "both" if contradicts else "grades"] += 1
        grades[number] = max(before, grade)


def read_rankings(
    source: str | Path | Iterable[Mapping[str, Any]],
    *,
    columns: tuple[str, str] = ("query", "document"),
    label: str = "label",
    split: str = "train",
) -> Rankings:
    """Queries and documents of a file, of rows in memory, or of a set in the form of BEIR.

    Args:
        columns, label: of the first form. The second is taken where there is no column of `columns[1]`, but one of
            POSITIVES.
        split: of a set: qrels/SPLIT.tsv.

    Raises:
        SlonikError: no such file, another form, labels that are no numbers, no query with a relevant document.
        MissingExtra: pyarrow is not installed, for Parquet.
    """
    if isinstance(source, str | Path) and Path(source).is_dir():
        return _of_set(Path(source), split)
    name = str(source) if isinstance(source, str | Path) else "the data"
    found = _Gathered()
    for number, row in enumerate(_rows(source), start=1):
        found.rows += 1
        _gather(found, row, columns, label, f"{name}, row {number}")
    notes = [f"{name}: {_counted(count, 'row')} {_FAULTS[fault]}" for fault, count in found.faults.items()]
    return _made(name, found, notes)


def _counted(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 else several or f'{one}s'}"


def _made(name: str, found: _Gathered, notes: list[str]) -> Rankings:
    if not found.rows:
        raise SlonikError(f"{name} has no rows: give at least one query with a document")
    queries = [Asked(text, grades) for text, grades in found.grades.items() if max(grades.values()) > 0]
    pointless = len(found.grades) - len(queries)
    if not queries:
        raise SlonikError(f"{name} has no query with a relevant document (a label above 0): nothing can be learned")
    if pointless:
        notes.append(f"{name}: {_counted(pointless, 'query', 'queries')} without a relevant document, left out")
    return Rankings(list(found.documents), queries, tuple(notes))


def _gather(found: _Gathered, row: Mapping[str, Any], columns: tuple[str, str], label: str, where: str) -> None:
    """One row in either form.

    Raises:
        SlonikError: neither form, or values of other types.
    """
    asked, read = columns
    if asked not in row:
        raise SlonikError(f"{where}: {unknown_name(asked, list(row), 'column')}")
    positive = next((name for name in POSITIVES if name in row), None)
    query = _text(row[asked], asked, where)
    if read in row:
        _graded(found, query, _text(row[read], read, where), row, label, where)
        return
    if positive is None:
        raise SlonikError(
            f"{where}: there is neither a column {read!r} nor 'positive': rows are query, document, label, or query, "
            f"positive, negative (the columns are {', '.join(map(str, row))})"
        )
    right = _texts(row[positive], positive, where)
    names = [name for name in row if name in NEGATIVES or name.rsplit("_", 1)[0] in NEGATIVES]
    wrong = [text for name in names for text in _texts(row[name], name, where)]
    if not query or not right:
        found.faults["positive" if query else "query"] += 1
        return
    for text, grade in [*((text, 1.0) for text in right), *((text, 0.0) for text in wrong)]:
        found.add(query, text, grade)


def _graded(found: _Gathered, query: str, document: str, row: Mapping[str, Any], label: str, where: str) -> None:
    if label not in row:
        raise SlonikError(f"{where}: {unknown_name(label, list(row), 'column')}")
    value = row[label]
    lacking = [
        name
        for name, gone in (("query", not query), ("document", not document), ("label", value in (None, "")))
        if gone
    ]
    if lacking:
        found.faults[lacking[0]] += 1
        return
    try:
        grade = float(str(value).replace(",", ".")) if not isinstance(value, bool) else float(value)
    except ValueError:
        grade = float("nan")
    if not abs(grade) < float("inf"):
        words = {"true": 1.0, "false": 0.0}.get(str(value).strip().lower())
        if words is None:
            raise SlonikError(f"{where}: the label is {value!r}: use numbers, 0 for what is not relevant")
        grade = words
    found.add(query, document, grade)


def _text(value: Any, column: str, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise SlonikError(f"{where}: the column {column!r} is {value!r}, a {type(value).__name__}: it must be a text")
    return value.strip()


def _texts(value: Any, column: str, where: str) -> list[str]:
    """One text or several; blank ones are none."""
    several = value if isinstance(value, list | tuple) else [value]
    return [text for one in several if (text := _text(one, column, where))]


def _rows(source: str | Path | Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    if not isinstance(source, str | Path):
        yield from source
    elif Path(source).suffix.lower() == ".parquet":
        yield from _parquet_rows(Path(source))
    else:
        yield from read_rows(source, ())


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ModuleNotFoundError as error:
        raise MissingExtra("reading Parquet files", "parquet", "pyarrow") from error
    if not path.is_file():
        raise SlonikError(f"there is no file {path}: mend the path")
    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches():
                yield from batch.to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise SlonikError(f"{path} is not a readable Parquet file ({str(error).splitlines()[0]})") from error


def _of_set(folder: Path, split: str) -> Rankings:
    """A set in the form of BEIR, documents of one text put together."""
    places = find_sets(folder)
    if places != [folder]:
        raise SlonikError(f"{folder} holds {len(places)} sets: name one ({', '.join(path.name for path in places)})")
    task = read_set(folder, split)
    found, numbers = _Gathered(), []
    for text in task.texts():
        numbers.append(found.documents.setdefault(text, len(found.documents)))
    there, lost = list(found.documents), 0
    for query, grades in zip(task.queries, task.judged, strict=True):
        found.rows += 1
        for number, grade in grades.items():
            if number >= len(numbers) or not there[numbers[number]]:
                lost += 1  # a document that the corpus lacks, or one without a text
            else:
                found.add(query, there[numbers[number]], grade)
    notes = [note for note in task.notes if "corpus lacks" not in note]
    notes += (
        [f"{folder}: {_counted(lost, 'judgement')} of documents that are not there or blank, left out"] if lost else []
    )
    notes += [f"{folder}: {_counted(count, 'judgement')} {_FAULTS[fault]}" for fault, count in found.faults.items()]
    return _made(str(folder), found, notes)
