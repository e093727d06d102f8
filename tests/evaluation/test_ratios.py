"""Ratios of sums and their relative change, resampled together."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.evaluation.ratios import Ratio, RelativeChange
from slonik.evaluation.statistics import interval, replicates, value_of


def test_ratio_of_sums_by_hand() -> None:
    ratio = Ratio([1.0, 2.0, 6.0], [1, 2, 3])
    assert value_of(ratio) == 9 / 6
    assert ratio.resampled(np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])).tolist()[:2] == [1.0, 2.0]
    assert np.isnan(ratio.resampled(np.zeros((1, 3)))[0])


def test_change_is_paired() -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(10, 1000, size=200)
    found = interval(-0.1, replicates(RelativeChange(before * 0.9, before), seed=0, sample="x"))
    assert value_of(RelativeChange(before * 0.9, before)) == pytest.approx(-0.1)
    assert found.high - found.low < 1e-9
