"""Ranks as ranges: against scipy's p-values and Holm's rule written out, and against the plain rules of `ranking`."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from slonik.reporting import ranking
from slonik.reporting.board.ranks import (
    borda_points,
    copeland_points,
    mean_ranges,
    places,
    rank_ranges,
    signed_rank_squares,
)


def holm(p_values: np.ndarray) -> int:
    """How many hypotheses Holm's step-down rule rejects at 5 %."""
    count = 0
    for number, p in enumerate(np.sort(p_values)):
        if p > 0.05 / (len(p_values) - number):
            break
        count += 1
    return count


@pytest.mark.parametrize("seed", range(4))
def test_as_many_pairs_are_told_apart_as_holms_rule_rejects(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, half = rng.random(30), rng.uniform(0.01, 0.2, 30)
    found = rank_ranges(values, values - half, values + half)
    z = np.abs(values[:, None] - values) / np.hypot(half[:, None], half) * stats.norm.ppf(0.975)
    above = np.triu_indices(30, 1)
    assert found.apart == holm(2 * stats.norm.sf(z[above])) and found.pairs == 435
    best = int(np.argmax(values))
    assert found.low[best] == 1 and (found.low <= found.high).all()


def test_what_has_no_interval_or_one_of_no_width_is_told_from_nobody() -> None:
    values = np.array([0.9, 0.5, 0.1, 0.95, np.nan])
    low, high = values - 0.01, values + 0.01
    low[3] = np.nan
    low[0] = high[0] = values[0]
    found = rank_ranges(values, low, high)
    assert found.low.tolist() == [1, 1, 2, 1, 0] and found.high.tolist() == [4, 3, 4, 4, 0]


def test_paired_differences_go_before_intervals_and_less_may_be_better() -> None:
    values = np.array([0.50, 0.51])
    wide = rank_ranges(values, values - 0.1, values + 0.1)
    assert wide.high.tolist() == [2, 2] and wide.low.tolist() == [1, 1]
    paired = rank_ranges(values, values - 0.1, values + 0.1, {(1, 0): 0.001})
    assert (paired.low.tolist(), paired.high.tolist()) == ([2, 1], [2, 1]) and "paired" in paired.method
    less = rank_ranges(values, values - 0.1, values + 0.1, {(1, 0): 0.001}, less=True)
    assert less.low.tolist() == [1, 2]


def test_signed_ranks_are_scipys() -> None:
    rng = np.random.default_rng(3)
    scores = rng.random((4, 12))
    squares = signed_rank_squares(scores)
    for first, second in ((0, 1), (2, 3)):
        exact = stats.wilcoxon(scores[first], scores[second], method="exact").pvalue
        assert 2 * stats.norm.sf(np.sqrt(squares[first, second])) == pytest.approx(exact, rel=1e-4)


def test_means_without_intervals_are_compared_over_tasks() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((3, 20)) * 0.01 + np.array([[0.8], [0.5], [0.502]])
    means, low, _, ranks = mean_ranges(scores, np.full_like(scores, np.nan))
    assert np.isnan(low).all() and means == pytest.approx(scores.mean(axis=1))
    assert (ranks.low[0], ranks.high[0]) == (1, 1) and "signed ranks" in ranks.method


def test_borda_and_copeland_are_those_of_small_tables() -> None:
    rng = np.random.default_rng(1)
    scores = np.round(rng.random((9, 6)), 1)
    told = {str(m): {str(t): float(scores[m, t]) for t in range(6)} for m in range(9)}
    tasks = [str(t) for t in range(6)]
    assert borda_points(scores) == pytest.approx(list(ranking.borda(told, tasks).points.values()))
    assert copeland_points(scores).tolist() == list(ranking.copeland(told, tasks).points.values())
    assert places(np.array([3.0, 5.0, 3.0, 1.0])).tolist() == [2, 1, 2, 4]
