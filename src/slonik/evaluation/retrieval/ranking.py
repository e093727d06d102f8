"""Rankings of many documents for many queries, kept to the best few: collected block by block, ties as in trec_eval.

Equal scores stand in the descending order of document ids, whatever block they come from. Rankings are written and read
as TREC's run files, so that another tool's can be measured and ours can be measured by another tool. Nothing here knows
where scores come from.

Shapes: Q queries, K places of a ranking, N documents, b documents of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.files import write_text
from slonik.data.retrieval import RetrievalSet
from slonik.text.lines import numbered_lines

Numbers = NDArray[np.int64]
Scores = NDArray[np.float32]
NONE = -1
_RUN_COLUMNS = 6


@dataclass(frozen=True)
class Ranking:
    """The best documents of each query.

    Attributes:
        numbers: (Q, K), the best first; NONE where fewer were found.
        scores: (Q, K), descending; -inf where fewer were found.
    """

    numbers: Numbers
    scores: Scores

    def found(self, query: int) -> list[int]:
        """Documents of one query, the best first."""
        return [int(number) for number in self.numbers[query] if number != NONE]


class Best:
    """Collects the best `depth` documents of each query from blocks of scores.

    Args:
        order: (N,) place of each document among equal scores.
    """

    def __init__(self, queries: int, depth: int, order: Sequence[int]) -> None:
        self._depth = depth
        self._order = np.asarray(order, dtype=np.int64)
        self._numbers = np.full((queries, depth), NONE, dtype=np.int64)
        self._scores = np.full((queries, depth), -np.inf, dtype=np.float32)

    def add(self, scores: Scores, numbers: Numbers, rows: slice | None = None) -> None:
        """Offer a block.

        Args:
            scores: (Q, b), of `rows` of the queries where that is given; -inf is never kept.
            numbers: (b,) the block's documents.
        """
        start = 0 if rows is None else rows.start
        least = self._scores[start : start + len(scores), -1]
        if scores.shape[1] > self._depth:  # what is not among the best of its block cannot be among the best of all
            cut = scores.shape[1] - self._depth
            least = np.maximum(least, np.partition(scores, cut, axis=1)[:, cut])
        for row in range(len(scores)):
            chosen = np.flatnonzero((scores[row] >= least[row]) & (scores[row] > -np.inf))
            if len(chosen):
                self._merge(start + row, numbers[chosen], scores[row, chosen])

    def _merge(self, query: int, numbers: Numbers, scores: Scores) -> None:
        kept = self._numbers[query] != NONE
        numbers = np.concatenate([self._numbers[query][kept], numbers])
        scores = np.concatenate([self._scores[query][kept], scores])
        ordered = np.lexsort((self._order[numbers], -scores))[: self._depth]
        self._numbers[query, : len(ordered)] = numbers[ordered]
        self._scores[query, : len(ordered)] = scores[ordered]

    @property
    def ranking(self) -> Ranking:
        """What was found up to now."""
        return Ranking(self._numbers, self._scores)


def check_ids(task: RetrievalSet) -> None:
    """Of a set whose rankings are to be written.

    Raises:
        SlonikError: an id with white space in it, which a run file cannot hold.
    """
    for name in (*task.query_ids, *task.document_ids):
        if len(name.split()) != 1 or name.strip() != name:
            raise SlonikError(
                f"the id {name!r} of {task.name} has white space in it: run files cannot hold its rankings"
            )


def write_run(path: Path, ranking: Ranking, task: RetrievalSet, name: str) -> None:
    """Write a ranking as TREC has it: query, Q0, document, rank, score, name of the run."""
    lines = []
    label = "_".join(name.split())
    for row, query in enumerate(task.query_ids):
        for rank, number in enumerate(ranking.found(row), start=1):
            cells = (query, "Q0", task.document_ids[number], str(rank), f"{ranking.scores[row, rank - 1]:.6f}", label)
            lines.append(" ".join(cells) + "\n")
    write_text(path, "".join(lines))


def read_run(path: Path, task: RetrievalSet, depth: int) -> tuple[Ranking, tuple[str, ...]]:
    """A run file as a ranking of a set, and what of it does not fit the set, in sentences.

    As in trec_eval the score decides, not the rank that is written.

    Raises:
        SlonikError: another form, a score that is no number, a document that stands twice for one query.
    """
    rows = {query: row for row, query in enumerate(task.query_ids)}
    numbers = {document: number for number, document in enumerate(task.document_ids)}
    found: dict[int, dict[int, float]] = {}
    others = unknown = 0
    for line_number, line in numbered_lines(path):
        if not line.strip():
            continue
        cells, where = line.split(), f"{path}, line {line_number}"
        if len(cells) != _RUN_COLUMNS:
            raise SlonikError(
                f"{where}: {len(cells)} columns: a run file has query, Q0, document, rank, score and name of the run"
            )
        if cells[0] not in rows or cells[2] not in numbers:
            others += cells[0] not in rows
            unknown += cells[0] in rows
            continue
        scores, number = found.setdefault(rows[cells[0]], {}), numbers[cells[2]]
        if number in scores:
            raise SlonikError(f"{where}: the document {cells[2]!r} stands twice for the query {cells[0]!r}")
        scores[number] = _score(cells[4], where)
    best = Best(len(rows), depth, task.order)
    for row, scores in found.items():
        block = np.array([list(scores.values())], dtype=np.float32)
        best.add(block, np.fromiter(scores, dtype=np.int64), slice(row, row + 1))
    notes = []
    if others:
        notes.append(f"{path}: {others} lines are of queries that are not measured")
    if unknown:
        notes.append(f"{path}: {unknown} lines name documents that {task.name} lacks: left out")
    if len(found) < len(rows):
        notes.append(f"{path}: {len(rows) - len(found)} of {len(rows)} queries have no line: they count 0")
    return best.ranking, tuple(notes)


def _score(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise SlonikError(f"{where}: the score is {text!r}: use numbers")
    return value
