"""Intervals of medians and ratios."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.evaluation.resources.spread import interval_of, median_interval, quartiles


def test_interval_holds_the_median_and_stays_within_the_runs() -> None:
    runs = [3.0, 1.0, 2.0, 10.0, 2.5]
    low, high = median_interval(runs) or (0, 0)
    assert min(runs) <= low <= np.median(runs) <= high <= max(runs)


def test_same_runs_same_interval_and_equal_runs_no_width() -> None:
    assert median_interval([1.0, 5.0, 2.0]) == median_interval([1.0, 5.0, 2.0])
    assert median_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)


def test_one_run_has_no_interval() -> None:
    assert median_interval([4.0]) is None


def test_paired_resampling_keeps_what_belongs_together() -> None:
    first = [1.0, 10.0, 100.0, 5.0]
    second = [2 * value for value in first]

    def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return b.sum(axis=1) / a.sum(axis=1)

    assert interval_of(ratio, first, second, paired=True) == pytest.approx((2.0, 2.0))
    low, high = interval_of(ratio, first, second) or (0, 0)
    assert high - low > 1


def test_quartiles_are_numpy_s() -> None:
    assert quartiles([1, 2, 3, 4]) == (1.75, 3.25)
