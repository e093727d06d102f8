"""How sure a value is: bootstrap intervals, and paired bootstrap of the difference of two models.

A `Statistic` knows its items and gives its value for any multiset of them, so a resample is a row of counts
(how often each item was drawn) and a thousand resamples are one matrix product or one cumulative sum; nothing is
sorted again. Two models scored on the same items with the same seed meet the same counts, therefore their
replicates subtract: that is the paired bootstrap, and it works for means over tasks too. Ranks, AUC and F1 follow
scipy and scikit-learn, ties included.

Repeated timings are few (five, often) and skewed by whatever else the machine does, hence medians and resampling of
runs (`median_interval`), never a standard deviation. No significance stars are given out here; other tests of two
models are in `comparison`.

Sources: Efron & Tibshirani 1993 (percentile interval); Dror et al. 2018 (paired tests in NLP).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slonik.core.hashing import derive_seed
from slonik.core.records import Record

Array: TypeAlias = NDArray[np.float64]

RESAMPLES = 1000
_RUN_RESAMPLES = 2000  # of repeated timings
_ENDS = (2.5, 97.5)  # percentiles of the 95 % interval
_BLOCK_CELLS = 1 << 21  # counts held at once: 16 MiB of float64


class Statistic(Protocol):
    """A metric over `n` items that can be computed for any multiset of them."""

    n: int

    def resampled(self, counts: Array) -> Array:
        """One value per row of `counts` (B, n); NaN where a row leaves it undefined."""
        ...


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its interval.

    Attributes:
        reason: why it is not that of a bootstrap, or why it has no width; empty for all others.
    """

    value: float
    low: float
    high: float
    reason: str = ""

    @property
    def fields(self) -> dict[str, float]:
        """Those of a result record."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @property
    def told(self) -> dict[str, str]:
        """For the detail of a result record: `interval`, the reason where there is one."""
        return {"interval": self.reason} if self.reason else {}


class Mean:
    """The mean of one number per item: accuracy (0 or 1 per item), time per text.

    Args:
        values: (n,) numbers.
    """

    def __init__(self, values: ArrayLike) -> None:
        self._values = np.asarray(values, dtype=np.float64)
        self.n = len(self._values)

    def resampled(self, counts: Array) -> Array:
        """Weighted means (B,)."""
        return (counts @ self._values) / counts.sum(axis=1)


class Spearman:
    """Spearman's rank correlation of two variables, ties given their mean rank.

    Args:
        x, y: (n,) numbers.
    """

    def __init__(self, x: ArrayLike, y: ArrayLike) -> None:
        self._x = _Groups.of(np.asarray(x, dtype=np.float64))
        self._y = _Groups.of(np.asarray(y, dtype=np.float64))
        self.n = len(self._x.group)

    def resampled(self, counts: Array) -> Array:
        """Correlations (B,); NaN where a variable is constant in a row."""
        total = counts.sum(axis=1, keepdims=True)
        x = self._x.mid_ranks(counts) - (total + 1) / 2
        y = self._y.mid_ranks(counts) - (total + 1) / 2
        covariance = np.einsum("bn,bn,bn->b", counts, x, y)
        spread = np.einsum("bn,bn,bn->b", counts, x, x) * np.einsum("bn,bn,bn->b", counts, y, y)
        with np.errstate(invalid="ignore", divide="ignore"):
            return covariance / np.sqrt(spread)


class RocAuc:
    """Area under the ROC curve; a tie between classes counts one half.

    Args:
        positive: (n,) True for the positive class.
        scores: (n,) the greater, the more positive.
    """

    def __init__(self, positive: ArrayLike, scores: ArrayLike) -> None:
        self._positive = np.asarray(positive, dtype=bool)
        self._scores = _Groups.of(np.asarray(scores, dtype=np.float64))
        self.n = len(self._positive)

    def resampled(self, counts: Array) -> Array:
        """Areas (B,); NaN where a row has one class only."""
        positive = self._scores.sums(counts * self._positive)
        negative = self._scores.sums(counts * ~self._positive)
        below = np.cumsum(negative, axis=1) - negative / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))


class MacroF1:
    """Unweighted mean of F1 over labels, resampled by document: tokens of one document are not independent.

    Args:
        tallies: (n documents, 3, L labels) counts of true positives, false positives, false negatives.
    """

    def __init__(self, tallies: ArrayLike) -> None:
        self._tallies = np.asarray(tallies, dtype=np.float64)
        self.n = len(self._tallies)

    def resampled(self, counts: Array) -> Array:
        """Macro F1 (B,); a label without any token or prediction in a row counts 0, as in scikit-learn."""
        totals = np.tensordot(counts, self._tallies, axes=1)  # (B, 3, L)
        hits, wrong, missed = totals[:, 0], totals[:, 1], totals[:, 2]
        whole = 2 * hits + wrong + missed
        f1: Array = np.divide(2 * hits, whole, out=np.zeros_like(hits), where=whole > 0)
        return f1.mean(axis=1)


class Ratio:
    """sum of `numerators` / sum of `denominators`, (n,) each: bits per byte. Both are resampled together."""

    def __init__(self, numerators: ArrayLike, denominators: ArrayLike) -> None:
        self._above = np.asarray(numerators, dtype=np.float64)
        self._below = np.asarray(denominators, dtype=np.float64)
        self.n = len(self._above)

    def resampled(self, counts: Array) -> Array:
        """(B,) for counts (B, n)."""
        below = counts @ self._below
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(below > 0, (counts @ self._above) / below, np.nan)


class RelativeChange(Ratio):
    """Sum after / sum before - 1: -.1 is a fall by 10 %. The texts are the same, so this is paired."""

    def resampled(self, counts: Array) -> Array:
        """(B,) for counts (B, n)."""
        return super().resampled(counts) - 1.0


@dataclass(frozen=True)
class _Groups:
    """Items sorted by value, equal values forming a group."""

    order: NDArray[np.intp]  # (n,) items, smallest value first
    starts: NDArray[np.intp]  # (G,) where each group starts in `order`
    group: NDArray[np.intp]  # (n,) group of each item

    @classmethod
    def of(cls, values: Array) -> _Groups:
        _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return cls(np.argsort(group, kind="stable"), starts, group.ravel())

    def sums(self, weights: Array) -> Array:
        """Weights of each group: (B, n) -> (B, G)."""
        return np.add.reduceat(weights[:, self.order], self.starts, axis=1)

    def mid_ranks(self, counts: Array) -> Array:
        """Mean rank of each item among the drawn ones: (B, n) -> (B, n)."""
        sizes = self.sums(counts)
        ranks = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
        return ranks[:, self.group]


def value_of(statistic: Statistic) -> float:
    """The metric on the items as they are."""
    return float(statistic.resampled(np.ones((1, statistic.n)))[0])


def replicates(statistic: Statistic, *, seed: int, sample: str) -> Array:
    """Values of the metric on `RESAMPLES` bootstrap resamples.

    Args:
        seed, sample: decide which items are drawn. Metrics over the same items share `sample`, so that they are
            resampled together: two models on one task, or two tasks with one set of test texts.

    Returns:
        (RESAMPLES,) values.
    """
    blocks = drawn_counts(statistic.n, derive_seed(seed, "bootstrap", sample, statistic.n))
    return np.concatenate([statistic.resampled(counts.astype(np.float64)) for counts in blocks])


def drawn_counts(n: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each of `n` items is drawn in `RESAMPLES` bootstrap resamples, some of them at a time: (b, n)."""
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK_CELLS // max(1, n))
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        drawn = rng.integers(0, n, size=(size, n)) + np.arange(size)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)


def interval(value: float, values: Array, *, n: int | None = None, least: float = 0.0) -> Interval:
    """The 95 % percentile interval of replicates `values` around `value`; undefined replicates are left out.

    Where all of `n` items are right, or none is, every resample is so too, and says nothing of how many wrong ones
    might have been among others: the end is then that of Clopper and Pearson, .025^(1/n) from the other end.

    Args:
        n: independent items that a share of right ones, or an F1, was taken over; None: of another kind of metric.
        least: of what the metric can be; -1 for Matthews correlation. The greatest is 1.
    """
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return Interval(value, value, value, "no resample gives a value")
    low, high = map(float, np.percentile(known, _ENDS))
    if np.ptp(known) > 1e-12 or abs(float(known[0]) - value) > 1e-12:
        return Interval(value, low, high)
    if n and value >= 1.0 - 1e-12:
        return Interval(value, least + (1.0 - least) * exact_bound(n), high, f"all {n} are right: {_EXACT}")
    if n and value <= 1e-12 and least == 0.0:
        return Interval(value, low, 1.0 - exact_bound(n), f"none of {n} is right: {_EXACT}")
    return Interval(value, low, high, "every resample gives this value: the interval does not tell how sure it is")


_EXACT = "a bootstrap has no width there, so the end is that of Clopper and Pearson"


def exact_bound(n: int) -> float:
    """The least share of right answers at which `n` right ones of `n` come about in 2.5 % of the cases.

    The lower end of the two-sided 95 % interval of Clopper and Pearson 1934; about 1 - 3.7 / n.
    """
    return float(0.025 ** (1.0 / n))


@dataclass(frozen=True)
class Difference:
    """A paired difference: the second minus the first.

    Attributes:
        interval: the difference and its interval.
        p_value: two-sided bootstrap p-value of no difference.
    """

    interval: Interval
    p_value: float

    def record(self, model: str, against: str, of: str, *, metric: str = "difference", **fields: Any) -> Record:
        """The record of `model` minus `against` in the metric `of`: under a name of its own, never a score of either.

        Args:
            fields: of the record: suite, task, n, ...; what its `detail` has beside the two models and the p-value.
        """
        detail: dict[str, Any] = {"model": model, "against": against, "of": of, "p_value": self.p_value, "paired": True}
        detail |= self.interval.told
        detail |= fields.pop("detail", {})
        name = f"{model} - {against}"
        return Record(model=name, metric=metric, detail=detail, **self.interval.fields, **fields)


def paired_difference(first: float, first_values: Array, second: float, second_values: Array) -> Difference:
    """Difference of two values from replicates drawn with the same seed and sample.

    Raises:
        ValueError: the replicates differ in number, so they cannot be paired.
    """
    if first_values.shape != second_values.shape:
        raise ValueError(f"{len(first_values)} and {len(second_values)} replicates cannot be paired")
    values = second_values - first_values
    known = values[np.isfinite(values)]
    # One is added to both counts: a finite number of resamples never proves p = 0 (Davison & Hinkley 1997).
    tails = [(1 + int((known <= 0).sum())) / (len(known) + 1), (1 + int((known >= 0).sum())) / (len(known) + 1)]
    return Difference(interval(second - first, values), min(1.0, 2 * min(tails)))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The 25th and the 75th percentile (linear interpolation)."""
    low, high = np.percentile(np.asarray(values, dtype=np.float64), [25, 75])
    return float(low), float(high)


def interval_of(statistic: Callable[..., NDArray[np.float64]], *groups: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % percentile interval of a statistic of one or more groups of runs, each resampled by itself.

    Args:
        statistic: takes one (resamples, runs) array per group, gives (resamples,) values.
        groups: the runs of each group.

    Returns:
        The ends; None where a group has fewer than two runs or no resample gives a finite value.
    """
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    if min(len(array) for array in arrays) < 2:
        return None
    rng = np.random.default_rng(derive_seed(0, "spread", *(len(array) for array in arrays)))
    drawn = [array[rng.integers(0, len(array), size=(_RUN_RESAMPLES, len(array)))] for array in arrays]
    with np.errstate(divide="ignore", invalid="ignore"):
        values = statistic(*drawn)
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return None
    low, high = np.percentile(known, _ENDS)
    return float(low), float(high)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the median of `values`."""
    return interval_of(lambda rows: np.median(rows, axis=1), values)
