"""Forward selection of runs with replacement: a run may enter several times, which gives it weight.

Source: Caruana et al. 2004 (Ensemble selection from libraries of models), section 2.1 and 2.2: start from the best
single runs, add at each step the run whose probabilities raise the figure most, keep the best bag that was met.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDS = 20


def select(probabilities: Floats, score: Callable[[Floats], float], *, start: int = 1, rounds: int = _ROUNDS) -> Floats:
    """Weights (R,) of the best bag of runs, summing to one.

    Args:
        probabilities: (R, N, K).
        score: combined probabilities (N, K) -> the figure to raise.
        start: how many of the best single runs the bag starts with.
        rounds: how many runs are added at most.
    """
    singles = [score(run) for run in probabilities]
    counts = np.zeros(len(probabilities))
    for run in sorted(range(len(singles)), key=lambda number: -singles[number])[:start]:
        counts[run] += 1
    total = np.tensordot(counts, probabilities, axes=1)
    best_counts, best = counts.copy(), score(total)
    for _ in range(rounds):
        figures = [score(total + run) for run in probabilities]
        chosen = int(np.argmax(figures))
        counts[chosen] += 1
        total = total + probabilities[chosen]
        if figures[chosen] > best:
            best_counts, best = counts.copy(), figures[chosen]
    return best_counts / best_counts.sum()
