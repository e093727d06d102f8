"""How differently runs answer: an ensemble gains from members that are good and wrong in different places.

Source: Kuncheva & Whitaker 2003 (disagreement, double fault).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Diversity:
    """Pairs of runs.

    Attributes:
        disagreement: (R, R) share of items that two runs answer differently.
        double_fault: (R, R) share of items that both answer wrongly; zeros where nothing is labelled.
    """

    disagreement: Floats
    double_fault: Floats

    @property
    def mean(self) -> float:
        """Mean disagreement over pairs of different runs; 0 for one run."""
        count = len(self.disagreement)
        return float(self.disagreement.sum() / (count * (count - 1))) if count > 1 else 0.0


def disagreement(probabilities: Floats, right: NDArray[np.bool_]) -> Diversity:
    """Pairwise diversity of runs (R, N, K); `right` (N, K) says which candidates are right."""
    picks = probabilities.argmax(axis=2)  # (R, N)
    hits = np.take_along_axis(right, picks.T, axis=1).T if right.any() else np.ones_like(picks, dtype=bool)
    apart = (picks[:, None] != picks[None]).mean(axis=2)
    both = (~hits[:, None] & ~hits[None]).mean(axis=2)
    return Diversity(apart, both)
