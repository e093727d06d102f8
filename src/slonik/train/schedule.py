"""The learning rate as a pure function of progress: nothing to save, nothing to restore."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant"]


def learning_rate_ratio(progress: float, schedule: Schedule, warmup: float, final: float) -> float:
    """Share of the peak learning rate.

    Args:
        progress: share of the run done, 0 to 1.
        schedule: after the warm-up, fall as half a cosine or a line from 1 to `final`, or stay at 1.
        warmup: share of the run with a linear rise from 0.
        final: the value at progress 1.
    """
    if progress < warmup:
        return progress / warmup
    if schedule == "constant":
        return 1.0
    done = min(1.0, (progress - warmup) / (1.0 - warmup))
    fall = done if schedule == "linear" else (1.0 - math.cos(math.pi * done)) / 2.0
    return 1.0 - (1.0 - final) * fall
