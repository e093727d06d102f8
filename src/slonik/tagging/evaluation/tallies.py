"""Counts per document and label, from which every figure and every resample of it is computed.

Shapes: D documents, L labels, 3 counts: right, wrong (false positives), missed (false negatives).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slonik.evaluation.statistics import Array
from slonik.tagging.evaluation.match import Comparison


@dataclass(frozen=True)
class Tallies:
    """Counts of one system.

    Attributes:
        labels: L names, sorted.
        exact: (D, L, 3) by equal spans.
        overlap: (D, L, 3) where a wrong border with the right label counts as right.
    """

    labels: tuple[str, ...]
    exact: NDArray[np.int64]
    overlap: NDArray[np.int64]

    def of(self, documents: Sequence[int]) -> Tallies:
        """The counts of some documents."""
        rows = list(documents)
        return Tallies(self.labels, self.exact[rows], self.overlap[rows])


def tally(comparisons: Sequence[Comparison], labels: Sequence[str]) -> Tallies:
    """Count the comparisons of documents over `labels`, which must hold every label that occurs."""
    place = {label: index for index, label in enumerate(labels)}
    exact = np.zeros((len(comparisons), len(labels), 3), dtype=np.int64)
    overlap = np.zeros_like(exact)
    for row, comparison in enumerate(comparisons):
        for span in comparison.right:
            exact[row, place[span.label], 0] += 1
            overlap[row, place[span.label], 0] += 1
        for mistake in comparison.mistakes:
            if mistake.kind == "border" and mistake.gold is not None:
                overlap[row, place[mistake.gold.label], 0] += 1
            for side, count in ((mistake.predicted, 1), (mistake.gold, 2)):
                if side is not None:
                    exact[row, place[side.label], count] += 1
                    overlap[row, place[side.label], count] += mistake.kind != "border"
    return Tallies(tuple(labels), exact, overlap)


class PooledF1:
    """F1, precision or recall of counts pooled over documents (and labels): a `Statistic`, resampled by document.

    Args:
        counts: (D, 3).
        figure: which of the three.
    """

    def __init__(self, counts: NDArray[np.int64], figure: str = "f1") -> None:
        self._counts = counts.astype(np.float64)
        self._figure = figure
        self.n = len(counts)

    def resampled(self, counts: Array) -> Array:
        """Values (B,); 0 where nothing is right, NaN where there is neither a gold nor a predicted span."""
        right, wrong, missed = (counts @ self._counts).T
        above, below = {
            "f1": (2 * right, 2 * right + wrong + missed),
            "precision": (right, right + wrong),
            "recall": (right, right + missed),
        }[self._figure]
        nothing = np.where(right + wrong + missed > 0, 0.0, np.nan)
        return np.divide(above, below, out=nothing, where=below > 0)
