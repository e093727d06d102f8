"""Figures that are functions of sums: whatever a metric needs to know of an item is one row of numbers.

Point value and bootstrap replicates then come from the same function: of the column sums, or of the sums weighted
by how often each row was drawn. Rows are clusters (a passage of MuSeRC), since its items are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
SumFunction: TypeAlias = Callable[[Array], Array]  # sums (B, K) -> values (B,)


class Tallies:
    """A metric over clusters, for `slonik.evaluation.statistics`.

    Args:
        rows: (items, K) numbers.
        clusters: (items,) name of each item's cluster; rows of one cluster are added up.
        function: sums (B, K) to values (B,).

    Attributes:
        n: number of clusters.
    """

    def __init__(self, rows: ArrayLike, clusters: Sequence[str], function: SumFunction) -> None:
        table = np.asarray(rows, dtype=np.float64)
        places = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
        self._sums = np.zeros((len(places), table.shape[1]))
        np.add.at(self._sums, [places[name] for name in clusters], table)
        self._function = function
        self.n = len(places)

    @property
    def value(self) -> float:
        """The figure on the items as they are."""
        return float(self._function(self._sums.sum(axis=0, keepdims=True))[0])

    def resampled(self, counts: Array) -> Array:
        """Values (B,) for counts (B, n) of how often each cluster was drawn."""
        return self._function(counts @ self._sums)


class Mean:
    """The mean of several figures over the same clusters: what a task with two metrics counts as.

    Args:
        parts: figures with the same number of clusters.
    """

    def __init__(self, parts: Sequence[Tallies]) -> None:
        self._parts = tuple(parts)
        self.n = self._parts[0].n

    @property
    def value(self) -> float:
        """The figure on the items as they are."""
        return float(np.mean([part.value for part in self._parts]))

    def resampled(self, counts: Array) -> Array:
        """Values (B,) for counts (B, n)."""
        values: Array = np.mean([part.resampled(counts) for part in self._parts], axis=0)
        return values


def ratio(sums: Array) -> Array:
    """First sum over second: accuracy from (hits, items); NaN where there are no items."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values: Array = sums[:, 0] / sums[:, 1]
    return values


def matthews(sums: Array) -> Array:
    """Matthews correlation from (true positive, false positive, false negative, true negative).

    (tp tn - fp fn) / sqrt((tp + fp)(tp + fn)(tn + fp)(tn + fn)); 0 where a factor is 0, as in scikit-learn.
    """
    hit, wrong, missed, other = sums.T
    product = (hit + wrong) * (hit + missed) * (other + wrong) * (other + missed)
    above = hit * other - wrong * missed
    values: Array = np.divide(above, np.sqrt(product), out=np.zeros_like(above), where=product > 0)
    return values


def macro_f1(sums: Array) -> Array:
    """Unweighted mean of F1 over labels, from (true positive, predicted, right) per label laid end to end.

    A label that a resample lacks counts 0: the set of labels is that of the whole, or intervals would jump.
    """
    hits, predicted, right = sums.reshape(len(sums), -1, 3).transpose(2, 0, 1)
    whole = predicted + right
    values: Array = np.divide(2 * hits, whole, out=np.zeros_like(hits), where=whole > 0).mean(axis=1)
    return values


def answer_f1(sums: Array) -> Array:
    """F1 over all answer options, from (right and predicted, predicted, right): MultiRC's F1a.

    Precision is 1 where nothing was predicted, recall 1 where nothing is right, as in the official code; F1 is 0
    where both are 0 (the official code divides by zero there).
    """
    agreed, predicted, right = sums.T
    precision = np.divide(agreed, predicted, out=np.ones_like(agreed), where=predicted > 0)
    recall = np.divide(agreed, right, out=np.ones_like(agreed), where=right > 0)
    both = precision + recall
    values: Array = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return values
