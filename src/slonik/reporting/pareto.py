"""Which models no other model beats on two criteria at once."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]], *, less_is_better: tuple[bool, bool]) -> list[bool]:
    """For each point, whether no other point is at least as good on both criteria and better on one.

    Args:
        points: (first, second) of each model.
        less_is_better: for each criterion; False = more is better.
    """
    signs = [-1.0 if less else 1.0 for less in less_is_better]
    good = [(signs[0] * first, signs[1] * second) for first, second in points]
    return [
        not any(other[0] >= own[0] and other[1] >= own[1] and other != own for other in good) for own in good
    ]  # fmt: skip
