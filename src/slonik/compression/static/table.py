"""Fit a table of token vectors: the mean of a text's rows comes to stand where the teacher's vector stands.

The rows that make the smallest squared error are the answer of a linear system, so nothing is trained by steps: rows
begin as the teacher's vectors of single tokens, weighted so that frequent ones count less, are turned by the one linear
map that fits sentences best, and then each is moved from there as far as sentences ask for, by conjugate gradients. A
ridge holds rare tokens where they began, for a few sentences say little of them. Agreement with the teacher on held-out
sentences chooses the iteration; no benchmark is read.

Sources: the weight a / (a + p) of a token of probability p: Arora et al., "A Simple but Tough-to-Beat Baseline for
Sentence Embeddings" (2017), section 3. Vectors of single tokens as a table: Model2Vec (Tulkens and van Dongen, 2024).
Conjugate gradients with a diagonal preconditioner: Saad, "Iterative Methods for Sparse Linear Systems", algorithm 9.1.

Shapes: N texts, V tokens, D dimensions of the table, E of a teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from slonik.compression.static.config import TableConfig
from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar
from slonik.core.protocols import FloatArray
from slonik.evaluation.agreement import unit

_SMALLEST = 1e-12
_MAP_RIDGE = 1e-3  # of the mean squared length of a dimension
_CONVERGED = 1e-10  # share of the first squared error that is left


@dataclass(frozen=True)
class Lesson:
    """Texts and what a teacher says of them.

    Attributes:
        ids: token ids of N texts.
        targets: (N, E) the teacher's vectors.
        view: (D, E) what turns a vector of the table into the teacher's space; None where the two are one space.
    """

    ids: Sequence[NDArray[np.integer]]
    targets: NDArray[np.floating]
    view: FloatArray | None = None


@dataclass(frozen=True)
class Table:
    """A fitted table.

    Attributes:
        vectors: (V, D) float32.
        agreement: mean cosine to the teacher on held-out texts: of the rows as they begin, of those that the map has
            turned, and after each iteration.
        best: place in `agreement` of the one that was kept.
    """

    vectors: FloatArray
    agreement: tuple[float, ...]
    best: int


def start_rows(token_vectors: FloatArray, counts: NDArray[np.integer], sif: float = 1e-3) -> FloatArray:
    """Rows to begin with: the teacher's vectors of single tokens, frequent tokens shorter; mean length 1.

    Args:
        token_vectors: (V, D), centred (those of a centred blend are).
        counts: (V,) of the tokens in the corpus.
        sif: a of the weight a / (a + p).
    """
    chances = counts / max(int(counts.sum()), 1)
    weights = (sif / (sif + chances)).astype(np.float32)
    rows: FloatArray = token_vectors.astype(np.float32) * weights[:, None]
    return rows / max(float(np.linalg.norm(rows, axis=1).mean()), _SMALLEST)


def token_counts(ids: Sequence[NDArray[np.integer]], tokens: int) -> NDArray[np.int64]:
    """(V,) how often each token stands in texts of ids."""
    return np.bincount(np.concatenate([np.zeros(0, dtype=np.int64), *ids]), minlength=tokens)


def fit_table(start: FloatArray, lessons: Sequence[Lesson], held: Lesson, config: TableConfig = TableConfig()) -> Table:
    """Fit a table so that means of its rows stand where the teacher's vectors stand.

    Args:
        start: (V, D) rows to begin with.
        lessons: what to learn from; the first one, in the table's own space, fits the map.
        held: texts that nothing is learnt from; they choose the iteration.

    Raises:
        SlonikError: no texts, or targets of another dimension than the table's vectors have there.
    """
    lessons = [lesson for lesson in lessons if len(lesson.ids)]
    if not lessons or not len(held.ids):
        raise SlonikError("a static model learns from texts and is chosen by others: give a larger corpus")
    for lesson in (*lessons, held):
        width = start.shape[1] if lesson.view is None else lesson.view.shape[1]
        if lesson.targets.shape[1] != width:
            sizes = f"{lesson.targets.shape[1]} dimensions and the table {width}"
            raise SlonikError(f"the teacher has {sizes}: make them equal")
    terms = [_Term.of(lesson, len(start)) for lesson in lessons]
    shares, wanted = _shares(held.ids, len(start)), unit(np.asarray(held.targets, dtype=np.float32))

    def agreement(rows: FloatArray) -> float:
        made: FloatArray = shares @ rows
        return float((unit(made if held.view is None else made @ held.view) * wanted).sum(1).mean())

    rows = start.astype(np.float32)
    found, tables = [agreement(rows)], [rows]
    if config.iterations:
        rows = _turned(rows, terms[0])
        found.append(agreement(rows))
        tables.append(rows)
    kept = tables[int(np.argmax(found))]

    def tell(moved: FloatArray) -> None:
        nonlocal kept
        found.append(agreement(moved))
        if found[-1] == max(found):
            kept = moved.copy()

    _moved(rows, terms, config, tell)
    return Table(kept, tuple(found), int(np.argmax(found)))


@dataclass(frozen=True)
class _Term:
    """One lesson as a part of the linear system.

    Attributes:
        shares: (N, V) each token's share of a text.
        seen: (N, D) the targets, in the table's space.
        inner: (D, D) view times its transpose; None where it is the identity.
    """

    shares: sparse.csr_matrix
    seen: FloatArray
    inner: FloatArray | None

    @classmethod
    def of(cls, lesson: Lesson, tokens: int) -> _Term:
        targets = np.asarray(lesson.targets, dtype=np.float32)
        if lesson.view is None:
            return cls(_shares(lesson.ids, tokens), targets, None)
        return cls(_shares(lesson.ids, tokens), targets @ lesson.view.T, lesson.view @ lesson.view.T)

    def product(self, rows: FloatArray) -> FloatArray:
        """What the system's matrix makes of rows (V, D)."""
        made = self.shares @ rows
        found: FloatArray = self.shares.T @ (made if self.inner is None else made @ self.inner)
        return found

    def diagonal(self) -> FloatArray:
        """(V,) of the system's matrix, the mean over dimensions."""
        weight = 1.0 if self.inner is None else float(np.trace(self.inner)) / len(self.inner)
        found: FloatArray = np.asarray(self.shares.multiply(self.shares).sum(0), dtype=np.float32).ravel() * weight
        return found


def _shares(ids: Sequence[NDArray[np.integer]], tokens: int) -> sparse.csr_matrix:
    """(N, V) each token's share of its text."""
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    places = np.concatenate([[0], np.cumsum(lengths)])
    values = np.repeat(1.0 / np.maximum(lengths, 1), lengths).astype(np.float32)
    columns = np.concatenate([np.zeros(0, dtype=np.int32), *ids]).astype(np.int32)
    return sparse.csr_matrix((values, columns, places), shape=(len(ids), tokens))


def _turned(rows: FloatArray, term: _Term) -> FloatArray:
    """Rows after the affine map whose means come nearest to the targets."""
    made = term.shares @ rows
    made = np.concatenate([made, np.full((len(made), 1), np.abs(made).mean(), dtype=np.float32)], axis=1)
    square = made.T @ made
    square += (_MAP_RIDGE * np.trace(square) / len(square) + _SMALLEST) * np.eye(len(square), dtype=np.float32)
    found = np.linalg.solve(square.astype(np.float64), (made.T @ term.seen).astype(np.float64)).astype(np.float32)
    turned: FloatArray = rows @ found[:-1] + made[0, -1] * found[-1]
    return turned


def _moved(start: FloatArray, terms: Sequence[_Term], config: TableConfig, tell: Callable[[FloatArray], None]) -> None:
    """Conjugate gradients; `tell` sees the rows after each iteration.

    Each dimension is a system of its own, with steps of its own, unless a view mixes them: then all are one system.
    """
    axis = None if any(term.inner is not None for term in terms) else 0

    def product(rows: FloatArray) -> FloatArray:
        found: FloatArray = config.ridge * rows + sum(term.product(rows) for term in terms)
        return found

    diagonal: FloatArray = config.ridge + np.sum([term.diagonal() for term in terms], axis=0)
    scale = diagonal[:, None]
    rows = start.copy()
    left = config.ridge * start + sum(term.shares.T @ term.seen for term in terms) - product(rows)
    turned = left / scale
    direction, size = turned, (left * turned).sum(axis)
    end = _CONVERGED * size  # further steps would divide noise by noise
    with progress_bar("fitting the table", config.iterations) as bar:
        for _ in range(config.iterations):
            moving = size > end
            if not moving.any():
                break
            image = product(direction)
            step = np.where(moving, size / np.maximum((direction * image).sum(axis), _SMALLEST), 0.0).astype(np.float32)
            rows, left = rows + step * direction, left - step * image
            turned = left / scale
            size, before = (left * turned).sum(axis), size
            kept = np.where(moving, size / np.maximum(before, _SMALLEST), 0.0).astype(np.float32)
            direction = turned + kept * direction
            tell(rows)
            bar.advance(1)
