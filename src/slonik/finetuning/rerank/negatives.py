"""Documents that do not answer a query, to learn from: those that were given, mined ones, and any others.

Mined ones are the best documents of BM25 or of the untrained encoder that nobody judged, less those that are so near to
a relevant one that they may be relevant themselves. Source of that guard: Moreira et al. 2024 (NV-Retriever, "positive-
aware" mining); for BM25, whose scores of two documents say little, it is the share of common words (near duplicates).

Shapes: N documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.progress import track
from slonik.data.rankings import Asked
from slonik.evaluation.retrieval.bm25 import Analyse, Bm25

Numbers = NDArray[np.int64]
_TRIES = 20


@dataclass(frozen=True)
class Mined:
    """What was mined.

    Attributes:
        negatives: per query, the hardest first.
        guarded: documents that were passed over as too near to a relevant one.
    """

    negatives: list[Numbers]
    guarded: int


def mined_by_words(
    index: Bm25, analyse: Analyse, documents: Sequence[str], queries: Sequence[Asked], allowed: NDArray[np.bool_],
    depth: int, margin: float,
) -> Mined:  # fmt: skip
    """The best documents by BM25, near duplicates of relevant ones left out.

    Args:
        allowed: (N,) documents that may be taken.
        margin: share of common words (of both documents' words together) from which two are near duplicates.
    """
    found, guarded = [], 0
    for asked in track(queries, "mining negatives"):
        scores = index.scores(asked.text)
        chosen = best(np.where(allowed, scores, 0.0), depth, asked)
        relevant = [set(analyse(documents[number])) for number in asked.relevant]
        near = [any(_common(set(analyse(documents[number])), one) >= margin for one in relevant) for number in chosen]
        guarded += sum(near)
        found.append(chosen[~np.array(near, dtype=bool)])
    return Mined(found, guarded)


def mined_by_vectors(
    similarity: Callable[[int], NDArray[np.float32]], queries: Sequence[Asked], allowed: NDArray[np.bool_],
    depth: int, margin: float,
) -> Mined:  # fmt: skip
    """The best documents by an encoder, those left out that score nearly as a relevant one does.

    Args:
        similarity: query number -> (N,) cosines of all documents.
        margin: share of the least relevant document's cosine from which another may be relevant.
    """
    found, guarded = [], 0
    for place, asked in enumerate(track(queries, "mining negatives")):
        scores = similarity(place)
        limit = margin * float(scores[asked.relevant].min())
        ranked = best(np.where(allowed, scores, -np.inf), depth, asked, least=-np.inf)
        kept = ranked[scores[ranked] < limit]
        guarded += len(ranked) - len(kept)
        found.append(kept)
    return Mined(found, guarded)


def best(scores: NDArray[np.floating], depth: int, asked: Asked, *, least: float = 0.0) -> Numbers:
    """The best `depth` documents above `least` that the query has no judgement of."""
    scores = scores.astype(np.float64)
    scores[list(asked.grades)] = -np.inf
    there = np.flatnonzero(scores > least)
    return there[np.argsort(-scores[there], kind="stable")[:depth]].astype(np.int64)


def _common(first: set[str], second: set[str]) -> float:
    return len(first & second) / max(1, len(first | second))


class Draw:
    """Draws the documents of one example: a relevant one first, then others.

    Args:
        asked: the query.
        mined: its mined negatives.
        pool: documents from which any is taken where these are too few.
        count: negatives of an example.

    Raises:
        SlonikError: there is no document that could be a negative.
    """

    def __init__(self, asked: Asked, mined: Numbers, pool: Numbers, count: int) -> None:
        self._grades, self._mined, self._pool, self._count = asked.grades, mined, pool, count
        self._lower = {
            positive: np.array([one for one, grade in asked.grades.items() if grade < asked.grades[positive]], np.int64)
            for positive in asked.relevant
        }
        if not len(mined) and any(not len(lower) for lower in self._lower.values()) and not self._others():
            raise SlonikError(f"there is no document that could be a wrong answer to {asked.text[:60]!r}: give more")

    def __call__(self, positive: int, rng: np.random.Generator) -> Numbers:
        """Numbers of 1 + `count` documents; of a query's own, those of a lower grade are negatives."""
        hard = np.concatenate([self._lower[positive], self._mined])
        chosen = [int(number) for number in rng.permutation(hard)[: self._count]]
        for _ in range(_TRIES * self._count):
            if len(chosen) == self._count:
                break
            number = int(self._pool[rng.integers(len(self._pool))]) if len(self._pool) else positive
            if number not in self._grades and number not in chosen:
                chosen.append(number)
        if len(chosen) < self._count:  # hardly any documents: some come twice
            others = np.array(self._others() or hard, dtype=np.int64)
            chosen += rng.choice(others, self._count - len(chosen)).tolist()
        return np.array([positive, *chosen], dtype=np.int64)

    def _others(self) -> list[int]:
        return [int(number) for number in self._pool if int(number) not in self._grades]
