"""Who can be told from whom: ranks as ranges, and three rules that sum up tasks, for tables of thousands of models.

Two figures are told apart by a two-sided p-value: of their paired difference where one was measured on the same items,
else of z = (a - b) / sqrt(s_a^2 + s_b^2), s = (high - low) / 3.92 (which knows nothing of the items being the same,
and so finds fewer differences). Means over tasks without any interval are compared by Wilcoxon's signed ranks over the
tasks. All pairs of a column are one family, corrected by Holm's step-down rule at 5 %. A model's range is from
1 + those surely better to n - those surely worse.

Models that lack a task are not ranked over tasks at all: what is missing can neither raise nor lower anybody.

Sources: Holm 1979; Demsar 2006 (signed ranks over data sets); Rofin et al. 2023 (Borda, Copeland on leaderboards);
Mohamad et al. 2021 and Al Mohamad et al. 2022 for ranges of ranks from pairwise tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Squares = NDArray[np.float32]

ALPHA = 0.05
_WIDTH = 2 * NormalDist().inv_cdf(0.975)  # of a 95 % interval, in standard errors
_FEWEST_TASKS = 6  # with five, the least p-value of signed ranks is .0625
_BLOCK = 1 << 22
PAIRED = "paired differences on the same items"
INTERVALS = "intervals of the two figures"
TASKS = "signed ranks over tasks"


@dataclass(frozen=True)
class Ranks:
    """Ranges of ranks of the models of one column.

    Attributes:
        low, high: (n,) best and worst rank that cannot be excluded; 0 where the value is missing.
        method: what the p-values were made of, for the reader; "" where nothing could be tested.
        pairs, apart: how many pairs there are, and how many are told apart.
    """

    low: Counts
    high: Counts
    method: str
    pairs: int
    apart: int


def holm_threshold(squares: Squares, pairs: int) -> float:
    """The z^2 from which on differences are significant, by Holm's step-down rule at `ALPHA`.

    Args:
        squares: (n, n) z^2 of all pairs, each there twice; 0 where a pair cannot be tested.
        pairs: size of the family.

    The rule needs no sorting: with K differences known to be significant, all p <= ALPHA / (pairs - K) are; K grows
    until it stays.
    """
    known = 0
    while True:
        limit = NormalDist().inv_cdf(1 - ALPHA / 2 / max(1, pairs - known)) ** 2
        count = int(np.count_nonzero(squares >= limit)) // 2
        if count <= known:
            return limit
        known = count


def rank_ranges(
    values: Array, low: Array, high: Array, paired: Mapping[tuple[int, int], float] | None = None, *, less: bool = False
) -> Ranks:
    """Ranges of ranks of one column.

    Args:
        values: (n,) NaN where a model has no value.
        low, high: (n,) ends of 95 % intervals; NaN where there is none, and equal where they tell of no spread (a
            metric at its end): such a model is told from nobody.
        paired: (row, row) -> p-value of their paired difference, in either order.
        less: less is better.
    """
    rows = np.flatnonzero(np.isfinite(values))
    own = -values[rows] if less else values[rows]
    rows, own = rows[order := np.argsort(-own, kind="stable")], own[order]
    spread = ((high[rows] - low[rows]) / _WIDTH) ** 2
    known = np.isfinite(spread) & (spread > 0)
    spread = np.where(known, spread, np.inf).astype(np.float32)
    centred = (own - own.mean()).astype(np.float32) if len(own) else own.astype(np.float32)
    squares: Squares = np.asarray(centred[:, None] - centred[None, :], dtype=np.float32)
    np.square(squares, out=squares)
    squares /= spread[:, None] + spread[None, :]
    used = _put_paired(squares, rows, paired or {})
    method = " and ".join(name for name, there in ((PAIRED, used), (INTERVALS, known.sum() > 1)) if there)
    return _ranges(len(values), rows, squares, method)


def _put_paired(squares: Squares, rows: NDArray[np.intp], paired: Mapping[tuple[int, int], float]) -> int:
    """Write the z^2 that belong to p-values of paired differences into `squares`; how many there were."""
    place = {int(row): number for number, row in enumerate(rows)}
    used = 0
    for (first, second), p_value in paired.items():
        if first in place and second in place and first != second:
            one, other = place[first], place[second]
            z = NormalDist().inv_cdf(1 - min(1.0, max(p_value, 1e-15)) / 2)
            squares[one, other] = squares[other, one] = z**2
            used += 1
    return used


def _ranges(n: int, rows: NDArray[np.intp], squares: Squares, method: str) -> Ranks:
    """Ranges from z^2 of the models `rows`, best first."""
    count, pairs = len(rows), len(rows) * (len(rows) - 1) // 2
    low, high = np.zeros(n, np.int64), np.zeros(n, np.int64)
    if not count:
        return Ranks(low, high, "", 0, 0)
    sure = squares >= holm_threshold(squares, pairs)
    before = np.tril(sure, -1).sum(axis=1)  # of those that are better, how many surely are
    low[rows] = 1 + before
    high[rows] = count - (sure.sum(axis=1) - before)
    return Ranks(low, high, method, pairs, int(sure.sum()) // 2)


def mean_ranges(scores: Array, errors: Array) -> tuple[Array, Array, Array, Ranks]:
    """Means over tasks with their 95 % intervals and ranges of ranks.

    Args:
        scores: (n, T) of whole models.
        errors: (n, T) standard errors; NaN where a figure has no interval.

    Returns:
        (n,) means, low and high ends (NaN where a task has no interval), and ranges: by the intervals of the means,
        or by Wilcoxon's signed ranks over tasks where no model has them and there are tasks enough.
    """
    means = scores.mean(axis=1)
    error = np.sqrt((errors**2).sum(axis=1)) / scores.shape[1]  # tasks have items of their own
    low, high = means - error * _WIDTH / 2, means + error * _WIDTH / 2
    if np.isfinite(error).any() or scores.shape[1] < _FEWEST_TASKS or len(means) * scores.shape[1] > _BLOCK:
        return means, low, high, rank_ranges(means, low, high)
    rows = np.argsort(-means, kind="stable")
    return means, low, high, _ranges(len(means), rows, signed_rank_squares(scores[rows]), TASKS)


def signed_rank_squares(scores: Array) -> Squares:
    """z^2 of Wilcoxon's signed ranks, by their exact distribution, for every pair of models over their tasks.

    Args:
        scores: (n, T), no gaps. Tasks without a difference are left out of a pair; tied ranks are rounded so that a
            pair is rather not told apart.
    """
    n, tasks = scores.shape
    exact = np.stack([_signed_rank_table(count, tasks) for count in range(tasks + 1)])  # (T + 1, W + 1)
    squares = np.zeros((n, n), np.float32)
    for row in range(n):
        difference = scores[row] - scores  # (n, T)
        size = np.abs(difference)
        size[size < 1e-12] = 0.0
        counted = size > 0
        below = (size[:, None, :] < size[:, :, None]) & counted[:, None, :]
        equal = (size[:, None, :] == size[:, :, None]) & counted[:, None, :]
        ranks = np.where(counted, below.sum(axis=2) + (equal.sum(axis=2) + 1) / 2, 0.0)
        less = np.minimum((ranks * (difference > 0)).sum(axis=1), (ranks * (difference < 0)).sum(axis=1))
        squares[row] = exact[counted.sum(axis=1), np.ceil(less).astype(int)]
    return squares


@cache
def _signed_rank_table(n: int, most: int) -> Array:
    """z^2 of the two-sided exact p-value of each smaller sum of ranks 0, 1, ... for `n` differences."""
    ways = np.zeros(most * (most + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, n + 1):
        ways[rank:] = ways[rank:] + ways[:-rank]
    p_values = np.minimum(1.0, 2 * np.cumsum(ways) / 2.0**n)
    return np.array([NormalDist().inv_cdf(1 - p / 2) ** 2 if p > 1e-15 else 64.0 for p in p_values])


def borda_points(scores: Array) -> Array:
    """(n,) mean over tasks of the share of rivals that a model beats, a tie one half. `scores`: (n, T), no gaps."""
    n, tasks = scores.shape
    if n < 2:
        return np.zeros(n)
    points = np.zeros(n)
    for column in scores.T:
        ordered = np.sort(column)
        below, upto = np.searchsorted(ordered, column, "left"), np.searchsorted(ordered, column, "right")
        points += (below + (upto - below - 1) / 2) / (n - 1)
    return points / tasks


def copeland_points(scores: Array) -> Array:
    """(n,) duels won minus duels lost, a duel going to who is better on more tasks. `scores`: (n, T), no gaps."""
    n = len(scores)
    points = np.zeros(n)
    ranks = np.stack([np.unique(column, return_inverse=True)[1] for column in scores.T]).astype(np.int16)  # (T, n)
    step = max(1, _BLOCK // max(1, n))
    for start in range(0, n, step):
        wins = np.zeros((len(ranks[0, start : start + step]), n), np.int16)
        for task in ranks:
            own = task[start : start + step, None]
            wins += own > task
            wins -= own < task
        points[start : start + step] = np.sign(wins).sum(axis=1)
    return points


def places(points: Array) -> Counts:
    """Rank of each, best 1; equal points share the better place."""
    ordered = np.sort(-points)
    return np.searchsorted(ordered, -points - 1e-12, "left") + 1
