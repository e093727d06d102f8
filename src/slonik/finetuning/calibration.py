"""What is settled after training on items that were stopped by: a temperature, and a threshold per label.

The temperature (Guo et al. 2017) makes probabilities as sure as they are right; it changes no label of a task with one.
Thresholds are chosen for the F1 of each label alone. Both stand in the details of the task's configuration, from which
torch, ONNX files and the server read them (`slonik.text.answers`). How far probabilities are from shares of right
answers is measured by `CalibrationError`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slonik.text.answers import Floats, heated
from slonik.text.task_config import Target

BINS = 15
_COLDEST, _HOTTEST = 0.05, 20.0
Array = NDArray[np.float64]


class CalibrationError:
    """Expected calibration error over equal bins of confidence (Naeini et al. 2015; Guo et al. 2017, eq. 3).

    Args:
        confidences: (n,) probability of the answer that was given.
        hits: (n,) whether it is right.
        bins: how many.
    """

    def __init__(self, confidences: ArrayLike, hits: ArrayLike, bins: int = BINS) -> None:
        sure = np.asarray(confidences, dtype=np.float64)
        right = np.asarray(hits, dtype=np.float64)
        self.n = len(sure)
        places = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
        self._gaps = np.zeros((self.n, bins))
        self._gaps[np.arange(self.n), places] = right - sure

    def resampled(self, counts: Array) -> Array:
        """Values (B,) for counts (B, n): the bins' |share right - mean confidence|, weighed by their items."""
        values: Array = np.abs(counts @ self._gaps).sum(axis=1) / counts.sum(axis=1)
        return values


def chosen_temperature(probabilities: Sequence[Any], labels: Sequence[Any], target: Target) -> float:
    """The temperature of the least mean log-loss of items, from .05 to 20; 1 where the target has no probabilities.

    Args:
        probabilities: per item (L,), at temperature 1.
        labels: per item the index of the right one ("single"), or (L,) 0 or 1 ("multi"; "choice": right candidates).
    """
    if target not in ("single", "multi", "choice") or not len(probabilities):
        return 1.0

    def loss(log_temperature: float) -> float:
        found = [heated(one, target, math.exp(log_temperature)) for one in probabilities]
        return float(np.mean([_log_loss(one, label, target) for one, label in zip(found, labels, strict=True)]))

    low, high = math.log(_COLDEST), math.log(_HOTTEST)
    ratio = (math.sqrt(5) - 1) / 2
    first, second = high - ratio * (high - low), low + ratio * (high - low)
    values = loss(first), loss(second)
    for _ in range(40):  # golden section: the loss has one minimum in 1 / T
        if values[0] < values[1]:
            high, second, values = second, first, (math.nan, values[0])
            first = high - ratio * (high - low)
            values = loss(first), values[1]
        else:
            low, first, values = first, second, (values[1], math.nan)
            second = low + ratio * (high - low)
            values = values[0], loss(second)
    return math.exp((low + high) / 2)


def _log_loss(found: Floats, label: Any, target: Target) -> float:
    sure = np.clip(np.asarray(found, dtype=np.float64), 1e-9, 1 - 1e-9)
    if target == "multi":
        right = np.asarray(label) > 0.5
        return float(-np.log(np.where(right, sure, 1 - sure)).mean())
    if target == "choice":
        return float(-np.log(sure[np.asarray(label) > 0].sum() if np.any(np.asarray(label) > 0) else 1.0))
    return float(-np.log(sure[int(label)]))


def chosen_thresholds(probabilities: Sequence[Any], labels: Sequence[Any], names: Sequence[str]) -> dict[str, float]:
    """Label -> the probability above which it is given, for the greatest F1 of that label over items.

    Of equally good ones that next to one half is taken; a label that no item has keeps one half.

    Args:
        probabilities, labels: per item (L,). names: of the L labels.
    """
    table, right = np.stack(list(probabilities)).astype(np.float64), np.stack([np.asarray(one) for one in labels]) > 0.5
    return {name: _threshold(table[:, place], right[:, place]) for place, name in enumerate(names)}


def _threshold(values: Array, right: NDArray[np.bool_]) -> float:
    if not right.any():
        return 0.5
    levels = np.unique(values)
    between = (levels[1:] + levels[:-1]) / 2
    candidates = np.concatenate([between, [0.5, levels[0] / 2]])
    given = values[None, :] > candidates[:, None]
    hits = (given & right).sum(1)
    scores = 2 * hits / (given.sum(1) + right.sum())
    best = candidates[scores >= scores.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()].round(6))
