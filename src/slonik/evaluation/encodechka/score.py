"""What scoring a task gives: a figure that can be resampled, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slonik.evaluation.statistics import Statistic, value_of


@dataclass(frozen=True)
class Score:
    """One task under one variant.

    Attributes:
        statistic: the figure over test items.
        value: the figure.
        seconds: time of classifiers and metric; encoding is counted elsewhere.
        detail: pooling and classifier that the figure is from, all others tried, faults kept or mended.
    """

    statistic: Statistic
    value: float
    seconds: float
    detail: dict[str, Any] = field(default_factory=dict)


def score_of(statistic: Statistic, seconds: float, **detail: Any) -> Score:
    """A score whose value is computed from its statistic."""
    return Score(statistic, value_of(statistic), seconds, detail)


def best(figures: dict[str, float]) -> str:
    """The name with the greatest figure; the earlier wins a draw."""
    return max(figures, key=lambda name: figures[name])


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """Figures for a record's detail: six digits are more than any of them is good for."""
    return {name: round(value, 6) for name, value in figures.items()}
