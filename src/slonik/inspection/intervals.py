"""95 % intervals that several measurements of this room share: of a share of hits, and of means over texts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from slonik.core.hashing import derive_seed

Z = 1.959964
_RESAMPLES = 1000


def wilson(hits: float, trials: int) -> tuple[float, float]:
    """Wilson's (1927) interval of a share; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share = hits / trials
    centre = share + Z * Z / (2 * trials)
    spread = Z * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    scale = 1 + Z * Z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def mean_interval(
    values: NDArray[np.float64], *, seed: int, sample: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile interval of the mean over the first axis: (N, ...) -> ends (...), (...).

    Args:
        sample: names what is resampled; with the seed it decides the resamples.
    """
    n = len(values)
    rng = np.random.default_rng(derive_seed(seed, sample, n))
    counts = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    low, high = np.percentile((counts @ values.reshape(n, -1)) / n, [2.5, 97.5], axis=0)
    return low.reshape(values.shape[1:]), high.reshape(values.shape[1:])
