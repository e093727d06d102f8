"""Metrics of rankings, per query, as trec_eval and BEIR define them.

nDCG (Järvelin & Kekäläinen 2002) with the grade itself as gain and log2(rank + 1) as discount, its ideal over all
judged documents of the query; recall over all relevant ones; reciprocal rank of the first relevant one, 0 beyond the
cut. A grade of 0 or below gains nothing. Means and intervals are the caller's.

Shapes: Q queries, K places of a ranking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

METRICS: dict[str, tuple[str, int]] = {
    "ndcg@10": ("ndcg", 10),
    "mrr@10": ("mrr", 10),
    "recall@10": ("recall", 10),
    "recall@100": ("recall", 100),
}
"""Metric -> what is computed, and the place at which it looks no further. The first is the one to choose by."""
DEEPEST = max(cut for _, cut in METRICS.values())


def per_query(
    numbers: NDArray[np.int64], judged: Sequence[Mapping[int, float]], names: Sequence[str] = tuple(METRICS)
) -> dict[str, NDArray[np.float64]]:
    """Metric -> its value for each query.

    Args:
        numbers: (Q, K) documents, the best first; -1 where nothing was found.
        judged: per query document -> grade; every one has a relevant document.
        names: of METRICS.

    Returns:
        (Q,) values between 0 and 1.
    """
    gains = np.zeros((len(numbers), DEEPEST))
    for row, (found, grades) in enumerate(zip(numbers, judged, strict=True)):
        for place, document in enumerate(found[:DEEPEST].tolist()):
            gains[row, place] = max(0, grades.get(document, 0))
    made = {}
    for name in names:
        kind, cut = METRICS[name]
        if kind == "ndcg":
            best = np.array([discounted(np.sort(_gains(grades))[::-1][None, :cut])[0] for grades in judged])
            made[name] = discounted(gains[:, :cut]) / best
        elif kind == "mrr":
            first = (gains[:, :cut] > 0).argmax(1)
            made[name] = np.where((gains[:, :cut] > 0).any(1), 1 / (first + 1), 0.0)
        else:
            relevant = np.array([(_gains(grades) > 0).sum() for grades in judged])
            made[name] = (gains[:, :cut] > 0).sum(1) / relevant
    return made


def discounted(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Discounted cumulative gain: (Q, K) gains by place -> (Q,)."""
    found: NDArray[np.float64] = gains @ (1 / np.log2(np.arange(gains.shape[1]) + 2))
    return found


def _gains(grades: Mapping[int, float]) -> NDArray[np.float64]:
    return np.maximum(0, np.array(list(grades.values()), dtype=np.float64))
