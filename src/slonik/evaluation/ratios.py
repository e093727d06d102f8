"""Intervals of a ratio of sums (bits per byte), and of how it changed between two models on the same texts.

Statistics for `statistics.bootstrap`: resampled over texts, numerator and denominator together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from slonik.evaluation.statistics import Array


class Ratio:
    """sum of `numerators` / sum of `denominators`, (n,) each."""

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
    """sum of `after` / sum of `before` - 1: -.1 is a fall by 10 %. The texts are the same, so this is paired."""

    def __init__(self, after: ArrayLike, before: ArrayLike) -> None:
        super().__init__(after, before)

    def resampled(self, counts: Array) -> Array:
        """(B,) for counts (B, n)."""
        return super().resampled(counts) - 1.0
