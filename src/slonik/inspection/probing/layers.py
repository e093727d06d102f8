"""How sure a layer's accuracy is, and how sure it is which layer is best: one bootstrap over sentences for all layers.

The best layer is the one with the highest validation accuracy (the first of equals), so the test accuracy beside it
was not selected on the test. Each resample of the validation sentences chooses its own best layer, and each resample
of the test sentences is scored at that layer: the spread of both is what "84.8 [8]" leaves unsaid. Sentences are drawn
by task, so figures of two models on one task are paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slonik.core.hashing import derive_seed
from slonik.evaluation.statistics import RESAMPLES, Array, Interval, interval

_BLOCK_CELLS = 1 << 22


@dataclass(frozen=True)
class BestLayer:
    """The layer that validation prefers.

    Attributes:
        layer: its number. accuracy: on the test, with an interval that includes the choice of the layer.
        low, high: where 95 % of the resamples have their best layer. share: how many agree on `layer`.
        replicates: (B,) test accuracies at the resamples' own best layers.
        test_layer, test_accuracy: the highest figure on the test itself, as leaderboards print it.
    """

    layer: int
    accuracy: Interval
    low: int
    high: int
    share: float
    replicates: Array
    test_layer: int
    test_accuracy: float


def resampled_means(values: NDArray[np.floating], *, seed: int, sample: str) -> Array:
    """Means of every row of `values` (L, n) over bootstrap resamples of its columns: (L, B)."""
    n = values.shape[1]
    rng = np.random.default_rng(derive_seed(seed, "probing bootstrap", sample, n))
    rows = max(1, _BLOCK_CELLS // max(1, n))
    table = np.asarray(values, dtype=np.float32).T
    blocks = []
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        drawn = rng.integers(0, n, size=(size, n)) + np.arange(size)[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float32)
        blocks.append((counts @ table) / n)
    return np.concatenate(blocks).T.astype(np.float64)


def intervals(values: NDArray[np.floating], resampled: Array) -> list[Interval]:
    """The interval of every row's mean."""
    return [interval(float(row.mean()), spread) for row, spread in zip(values, resampled, strict=True)]


def best_layer(validation: NDArray[np.floating], test: NDArray[np.floating], *, seed: int, sample: str) -> BestLayer:
    """Choose a layer.

    Args:
        validation, test: (L, n) shares of right answers of every layer on the validation and the test sentences.
        sample: names the sentences; equal for all models on one task.
    """
    chosen = int(validation.mean(1).argmax())
    choices = resampled_means(validation, seed=seed, sample=f"{sample} va").argmax(0)
    scored = resampled_means(test, seed=seed, sample=f"{sample} te")
    replicates = scored[choices, np.arange(scored.shape[1])]
    low, high = np.percentile(choices, [2.5, 97.5])
    accuracies = test.mean(1)
    value = float(accuracies[chosen])
    bounds = interval(value, replicates)
    return BestLayer(
        layer=chosen,
        # resamples choose layers anew, so all of them may be on one side of the figure: the interval holds it too
        accuracy=Interval(value, min(value, bounds.low), max(value, bounds.high)),
        low=int(np.floor(low)),
        high=int(np.ceil(high)),
        share=float((choices == chosen).mean()),
        replicates=replicates,
        test_layer=int(accuracies.argmax()),
        test_accuracy=float(accuracies.max()),
    )
