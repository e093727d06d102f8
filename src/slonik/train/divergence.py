"""Stops a run whose loss is no number or has exploded, naming step and batch."""

from __future__ import annotations

import math
from typing import Any

from slonik.core.errors import SlonikError

_SMOOTHING_STEPS = 50
_START_STEPS = 20


class DivergenceGuard:
    """Watches the loss of each step.

    "Exploded" compares the loss smoothed over some 50 steps with the mean of the first 20: a single hard batch
    passes, a run that got several times worse than it started does not.

    Args:
        factor: how many times worse than the start is an explosion.
        state: as `state` gave it, to continue.
    """

    def __init__(self, factor: float, state: dict[str, Any] | None = None) -> None:
        self._factor = factor
        saved = state or {}
        self._start: list[float] = list(saved.get("start", []))
        self._smoothed: float | None = saved.get("smoothed")

    def check(self, step: int, loss: float, norm: float, where: str) -> None:
        """Take in the loss and gradient norm of `step`.

        Raises:
            SlonikError: NaN, infinity or explosion.
        """
        if not math.isfinite(loss) or not math.isfinite(norm):
            what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient norm is {norm}"
            raise SlonikError(
                f"{what} at step {step}, {where}: lower the learning rate, lengthen the warm-up, use fp32, "
                "or look at these texts; the last checkpoint is intact"
            )
        if len(self._start) < _START_STEPS:
            self._start.append(loss)
        previous = loss if self._smoothed is None else self._smoothed
        self._smoothed = previous + (loss - previous) / _SMOOTHING_STEPS
        start = abs(sum(self._start) / len(self._start))
        if len(self._start) == _START_STEPS and self._smoothed > self._factor * max(start, 1e-8):
            raise SlonikError(
                f"the loss has exploded at step {step}, {where}: {self._smoothed:.4g} (smoothed) against {start:.4g} "
                "at the start; lower the learning rate or lengthen the warm-up; the last checkpoint is intact"
            )

    @property
    def state(self) -> dict[str, Any]:
        """JSON values to continue from."""
        return {"start": self._start, "smoothed": self._smoothed}

    @property
    def smoothed(self) -> float:
        """The loss smoothed over some 50 steps."""
        return self._smoothed if self._smoothed is not None else math.nan
