"""How much repeated timings vary: quartiles, and bootstrap intervals of medians and of what follows from them.

Runs are few (five, often) and skewed by whatever else the machine does, hence medians and resampling, never a
standard deviation. Resampling is seeded: the same timings give the same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from slonik.core.hashing import derive_seed

RESAMPLES = 2000


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The 25th and the 75th percentile (linear interpolation)."""
    low, high = np.percentile(np.asarray(values, dtype=np.float64), [25, 75])
    return float(low), float(high)


def interval_of(
    statistic: Callable[..., NDArray[np.float64]], *groups: Sequence[float], paired: bool = False, seed: int = 0
) -> tuple[float, float] | None:
    """The 95 % percentile interval of a statistic of one or more groups of runs.

    Args:
        statistic: takes one (resamples, runs) array per group, gives (resamples,) values.
        groups: the runs of each group.
        paired: run i of every group belongs together (one round), so rounds are resampled, not runs.

    Returns:
        The ends; None where a group has fewer than two runs or no resample gives a finite value.
    """
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    if min(len(array) for array in arrays) < 2:
        return None
    rng = np.random.default_rng(derive_seed(seed, "spread", *(len(array) for array in arrays)))
    shared = rng.integers(0, len(arrays[0]), size=(RESAMPLES, len(arrays[0]))) if paired else None
    drawn = [
        array[shared if shared is not None else rng.integers(0, len(array), size=(RESAMPLES, len(array)))]
        for array in arrays
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        values = statistic(*drawn)
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the median of `values`."""
    return interval_of(lambda rows: np.median(rows, axis=1), values)
