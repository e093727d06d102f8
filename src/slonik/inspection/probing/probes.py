"""The probe: logistic regression on the vectors of one layer, at its exact optimum, with the penalty that validation
prefers; and what it is compared with (the same probe on control labels).

Vectors are divided by one number, their root mean square deviation, so that one grid of penalties suits every layer.
Training, choosing and testing see different sentences. Shapes: N sentences, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slonik.core.hashing import derive_seed
from slonik.evaluation.logistic import LogisticModel, PreparedLogistic
from slonik.inspection.probing.readers import TaskData

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C, inverse strength, for vectors of unit deviation
Matrix = NDArray[np.float32]
Correct = NDArray[np.bool_]


@dataclass(frozen=True)
class Features:
    """Vectors of one layer: training, validation and test sentences, equally scaled."""

    train: Matrix
    validation: Matrix
    test: Matrix


@dataclass(frozen=True)
class ProbeResult:
    """What a probe got right.

    Attributes:
        test, validation: (N,) True where right. predictions: labels given to the test sentences.
        train_accuracy: on what it was fitted to. setting: the penalty that was chosen.
    """

    test: Correct
    validation: Correct
    predictions: NDArray[np.str_]
    train_accuracy: float
    setting: float


def scale(train: Matrix, validation: Matrix, test: Matrix) -> Features:
    """Divide all by the root mean square deviation of the training vectors."""
    spread = float(np.sqrt(train.var(axis=0, dtype=np.float64).mean())) or 1.0
    return Features(*((part / np.float32(spread)).astype(np.float32) for part in (train, validation, test)))


class LogisticProbe:
    """Logistic regression on one layer; the axes of the vectors are taken once for all labels and penalties."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._prepared = PreparedLogistic(features.train)

    def fit(self, data: TaskData, penalties: Sequence[float] = PENALTIES) -> ProbeResult:
        """The penalty with the best validation accuracy; of equals, the one with the smaller validation loss."""
        best: tuple[float, float] | None = None
        chosen: tuple[LogisticModel, float, Correct] | None = None
        for c in penalties:
            model = self._prepared.fit(data.train.labels, c=c)
            probabilities = model.probabilities(self._features.validation)
            right = model.classes[probabilities.argmax(1)] == data.validation.labels
            rank = (float(right.mean()), -_loss(model, probabilities, data.validation.labels))
            if best is None or rank > best:
                best, chosen = rank, (model, c, right)
        assert chosen is not None
        model, c, right = chosen
        predictions = model.predict(self._features.test)
        trained = float((model.predict(self._features.train) == data.train.labels).mean())
        return ProbeResult(predictions == data.test.labels, right, predictions, trained, c)

    def control(self, data: TaskData, setting: float, seeds: Sequence[int]) -> NDArray[np.float64]:
        """(N test,) how often each test sentence is right on control labels, averaged over `seeds`."""
        hits = []
        for seed in seeds:
            train, test = control_labels(data, seed)
            if len(set(train.tolist())) < 2:
                continue
            model = self._prepared.fit(train, c=setting)
            hits.append(model.predict(self._features.test) == test)
        return np.mean(hits, axis=0) if hits else np.ones(len(data.test))


def control_labels(data: TaskData, seed: int) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Labels of training and test sentences for a control task (Hewitt and Liang 2019).

    Every word type gets a random label with the task's own frequencies, and a sentence has the label of its first
    word. It can be learned only by knowing words by heart: a probe that does well on it says little on the task.
    """
    labels, counts = np.unique(data.train.labels, return_counts=True)
    edges = np.cumsum(counts) / counts.sum()

    def label(text: str) -> str:
        word = text.split()[0].lower() if text.split() else ""
        draw = derive_seed(seed, "control", data.task.id, word) / 2**63
        return str(labels[min(int(np.searchsorted(edges, draw, side="right")), len(labels) - 1)])

    made = [np.array([label(text) for text in split.texts], dtype=np.str_) for split in (data.train, data.test)]
    return made[0], made[1]


def _loss(model: LogisticModel, probabilities: NDArray[np.float64], labels: NDArray[np.str_]) -> float:
    known = np.isin(labels, model.classes)
    if not known.any():
        return float("inf")
    places = np.searchsorted(model.classes, labels[known])
    return float(-np.log(np.maximum(probabilities[known, places], 1e-12)).mean())
