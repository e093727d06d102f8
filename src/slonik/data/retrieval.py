"""Retrieval sets in the form of BEIR: corpus.jsonl, queries.jsonl (each also .gz) and qrels/SPLIT.tsv.

Does: one set or a folder of several; documents streamed from their file, so that a million passages need the memory of
their ids alone; judgements checked against documents and queries, what does not fit counted and said.
Does not: retrieve or score anything; pairs of the user's own are read by `rankings`.

Source: Thakur et al. 2021 (BEIR), the format; TREC's four columns of judgements (query, iteration, document, grade) are
read too. A document is its title and its text, a space between, as BEIR's models read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json, sha256_texts
from slonik.core.identity import file_identity
from slonik.text.lines import json_lines, numbered_lines

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
_PACKED = ("", ".gz")
_BEIR_COLUMNS, _TREC_COLUMNS = 3, 4

Judged = Mapping[int, float]
"""Document number -> grade; above 0 is relevant."""


@dataclass(frozen=True)
class RetrievalSet:
    """Documents, queries, and which documents are relevant to which queries.

    Attributes:
        name: of the set.
        document_ids: of the documents, in their order; their places are their numbers.
        query_ids, queries: those that are measured: with a text and at least one relevant document.
        judged: one per query. Documents that the corpus lacks have numbers from `len(document_ids)` on: they count as
            relevant ones that nobody finds, as trec_eval has it.
        notes: what did not fit, in sentences.
        source: the corpus file; None where the documents are in `kept`.
        kept: texts of the documents, where they are in memory.
        identity: hash of documents, queries and judgements.
    """

    name: str
    document_ids: Sequence[str]
    query_ids: Sequence[str]
    queries: Sequence[str]
    judged: Sequence[Judged]
    identity: str
    notes: tuple[str, ...] = ()
    source: Path | None = None
    kept: Sequence[str] = field(default=(), repr=False)

    @classmethod
    def of(
        cls,
        documents: Mapping[str, str],
        queries: Mapping[str, str],
        qrels: Mapping[str, Mapping[str, int]],
        *,
        name: str = "custom",
    ) -> RetrievalSet:
        """A set of texts in memory.

        Args:
            documents: id -> text. queries: id -> text. qrels: query id -> document id -> grade, above 0 is relevant.

        Raises:
            SlonikError: no document, or no query with a relevant document.
        """
        facts = [sha256_texts([*documents, *documents.values(), *queries, *queries.values()])]
        identity = sha256_json([*facts, {query: dict(found) for query, found in qrels.items()}])
        return _joined(
            name, list(documents), queries, qrels, notes=[], identity=identity, what=name, kept=list(documents.values())
        )

    def texts(self) -> Iterator[str]:
        """The documents in their order, as they are read."""
        if self.source is None:
            yield from self.kept
            return
        for where, row in json_lines(self.source):
            yield _document(row, where)[1]

    def take(self, numbers: Iterable[int]) -> dict[int, str]:
        """Texts of some documents, by number; the file is read once."""
        wanted = set(numbers)
        return {number: text for number, text in enumerate(self.texts()) if number in wanted}

    @cached_property
    def order(self) -> list[int]:
        """Place of each document in the descending order of ids: how trec_eval breaks ties."""
        places = [0] * len(self.document_ids)
        ordered = sorted(range(len(places)), key=self.document_ids.__getitem__, reverse=True)
        for place, number in enumerate(ordered):
            places[number] = place
        return places


def find_sets(folder: str | Path) -> list[Path]:
    """The folder itself where it holds a corpus, else its subfolders that do, by name.

    Raises:
        SlonikError: there is no such folder, or no corpus in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise SlonikError(f"there is no folder {root}: give one with {CORPUS}, {QUERIES} and {QRELS}/, or one of such")
    if _file(root, CORPUS) is not None:
        return [root]
    found = sorted(path for path in root.iterdir() if path.is_dir() and _file(path, CORPUS) is not None)
    if not found:
        raise SlonikError(
            f"neither {root} nor a folder in it holds a {CORPUS} (or {CORPUS}.gz): a set in the form of BEIR has "
            f"{CORPUS}, {QUERIES} and {QRELS}/SPLIT.tsv"
        )
    return found


def splits_of(folder: str | Path) -> list[str]:
    """Names of the splits that a set has judgements of."""
    names = (path.name.removesuffix(".gz") for path in (Path(folder) / QRELS).glob("*.tsv*"))
    return sorted({name.removesuffix(".tsv") for name in names if name.endswith(".tsv")})


def read_set(folder: str | Path, split: str = "test") -> RetrievalSet:
    """One set in the form of BEIR.

    Args:
        split: whose judgements: qrels/SPLIT.tsv.

    Raises:
        SlonikError: a missing file, another form, an id that repeats, no query with a relevant document.
    """
    root = Path(folder)
    corpus, asked = _needed(root, CORPUS), _needed(root, QUERIES)
    judgements = _file(root / QRELS, f"{split}.tsv")
    if judgements is None:
        there = splits_of(root)
        advice = f"it has {', '.join(there)}: choose one with --split" if there else "write it: query, document, grade"
        raise SlonikError(f"{root} has no {QRELS}/{split}.tsv ({advice})")
    notes = [
        f"{root} holds {name} and {name}.gz: {name} is read"
        for name in (CORPUS, QUERIES) if all((root / f"{name}{packed}").is_file() for packed in _PACKED)
    ]  # fmt: skip
    ids, blank = _document_ids(corpus)
    if blank:
        notes.append(f"{blank} of {len(ids)} documents have neither title nor text")
    qrels, disagreeing = _read_qrels(judgements)
    if disagreeing:
        notes.append(f"{disagreeing} pairs of {judgements} have two grades: the higher one counts")
    identity = sha256_json([file_identity(path) for path in (corpus, asked, judgements)])
    name = root.resolve().name
    return _joined(
        name, ids, _read_queries(asked), qrels, notes=notes, identity=identity, what=str(judgements), source=corpus
    )


def _joined(
    name: str, ids: Sequence[str], queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]], *,
    notes: list[str], identity: str, what: str, source: Path | None = None, kept: Sequence[str] = (),
) -> RetrievalSet:  # fmt: skip
    """Judgements by document number, of the queries that can be measured."""
    numbers = {document: number for number, document in enumerate(ids)}
    missing: dict[str, int] = {}
    absent, pointless, blank, negative = [], [], [], 0
    chosen: list[tuple[str, dict[int, int]]] = []
    for query, grades in qrels.items():
        negative += sum(grade < 0 for grade in grades.values())
        if query not in queries:
            absent.append(query)
        elif max(grades.values(), default=0) <= 0:
            pointless.append(query)
        elif not queries[query].strip():
            blank.append(query)
        else:
            for document in grades:
                if document not in numbers:
                    missing.setdefault(document, len(ids) + len(missing))
            chosen.append((query, {numbers.get(one, missing.get(one, -1)): grade for one, grade in grades.items()}))
    for found, sentence in (
        (absent, "queries that are not there, left out"),
        (pointless, "queries without a relevant document, left out of every mean"),
        (blank, "queries without a text, left out"),
        (missing, "documents that the corpus lacks, which count as relevant ones that nobody finds"),
    ):
        if found:
            notes.append(f"{what}: {len(found)} of the ids are {sentence} (the first: {next(iter(found))})")
    if negative:
        notes.append(f"{what} has {negative} negative grades: they gain nothing, as 0 does")
    if not ids:
        raise SlonikError(f"the corpus of {name} is empty: give at least one document")
    if not chosen:
        raise SlonikError(f"{what} has no query with a text and a relevant document: nothing can be measured")
    return RetrievalSet(
        name, ids, [query for query, _ in chosen], [queries[query] for query, _ in chosen],
        [grades for _, grades in chosen], identity, tuple(notes), source, kept,
    )  # fmt: skip


def _file(folder: Path, name: str) -> Path | None:
    return next((path for packed in _PACKED if (path := folder / f"{name}{packed}").is_file()), None)


def _needed(folder: Path, name: str) -> Path:
    path = _file(folder, name)
    if path is None:
        raise SlonikError(f"{folder} has no {name} (nor {name}.gz): a set has {CORPUS}, {QUERIES} and {QRELS}/")
    return path


def _document_ids(path: Path) -> tuple[list[str], int]:
    """Ids in their order, and how many documents have no text at all."""
    ids: list[str] = []
    seen: set[str] = set()
    blank = 0
    for where, row in json_lines(path):
        name, text = _document(row, where)
        if name in seen:
            raise SlonikError(f"{where}: the document {name!r} is there already: ids must differ")
        seen.add(name)
        ids.append(name)
        blank += not text
    return ids, blank


def _document(row: Any, where: str) -> tuple[str, str]:
    """Id and text of a line of the corpus; a missing title is none, a missing text a fault."""
    name = _id(row, where)
    title, text = row.get("title"), row.get("text")
    for key, value in (("title", "" if title is None else title), ("text", text)):
        if not isinstance(value, str):
            raise SlonikError(f"{where}: {key!r} is {value!r}: every document has a text, and may have a title")
    return name, f"{title or ''} {text}".strip()


def _read_queries(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for where, row in json_lines(path):
        name, text = _id(row, where), row.get("text")
        if not isinstance(text, str):
            raise SlonikError(f"{where}: 'text' is {text!r}: every query has a text")
        if name in found:
            raise SlonikError(f"{where}: the query {name!r} is there already: ids must differ")
        found[name] = text
    return found


def _id(row: Any, where: str) -> str:
    if not isinstance(row, dict):
        raise SlonikError(f"{where} is not a JSON object")
    value = row.get("_id", row.get("id"))
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise SlonikError(f"{where}: '_id' is {value!r}: every line has an id, a text or a whole number")
    return str(value)  # a number here and its digits in qrels are one id


def _read_qrels(path: Path) -> tuple[dict[str, dict[str, int]], int]:
    """Query id -> document id -> grade, and how many pairs have two grades; a line that is no judgement is a header."""
    found: dict[str, dict[str, int]] = {}
    disagreeing = 0
    lines = ((number, line) for number, line in numbered_lines(path) if line.strip())
    for place, (number, line) in enumerate(lines):
        where = f"{path}, line {number}"
        cells = [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()
        if len(cells) not in (_BEIR_COLUMNS, _TREC_COLUMNS):
            raise SlonikError(f"{where}: {len(cells)} columns: a judgement has query, document and grade, by tabs")
        query, document, grade = cells[0], cells[-2], _grade(cells[-1])
        if grade is None:
            if place == 0 and not any(map(str.isdigit, cells[-1])):
                continue
            raise SlonikError(f"{where}: the grade is {cells[-1]!r}: use whole numbers, 0 for what is not relevant")
        grades = found.setdefault(query, {})
        disagreeing += grades.get(document, grade) != grade
        grades[document] = max(grade, grades.get(document, grade))
    return found, disagreeing


def _grade(text: str) -> int | None:
    try:
        value = float(text)
        return int(value) if value == int(value) else None
    except (ValueError, OverflowError):
        return None
