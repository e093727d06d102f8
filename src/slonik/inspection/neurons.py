"""Which single neurons carry a property: linear attribution over all layers at once (Dalvi et al. 2019).

A multinomial logistic regression with an elastic-net penalty on the vectors of all layers side by side; per class the
neurons are ordered by |weight|, and a neuron's rank is the smallest share of a class's weight mass at which it is
among the top ones, as Durrani et al. (2020) and RuSentEval do. Then: accuracy of a probe on the top k alone, accuracy
when they (or the bottom ones) are cut out of the fitted probe, and in which layers they are.

Shapes: N sentences, M neurons (layers x dimensions), K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.paths import data_dir as data_folder
from slonik.core.progress import shown
from slonik.core.records import Record
from slonik.inspection import inspection_record
from slonik.inspection.inputs import open_transformer
from slonik.inspection.intervals import wilson
from slonik.inspection.probing.tasks import TaskData, read_tasks
from slonik.models.encoder import TorchEncoder

_ITERATIONS = 150
_TOP = (10, 30, 100, 300)
_L2 = 1e-3
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Neurons:
    """The result for one property.

    Attributes:
        order: (M,) neurons, most important first. nonzero: neurons with any weight.
        accuracies: of the probe on all neurons ("all"); of one fitted on the k first or last neurons alone ("top_k",
            "bottom_k"); of the whole probe with these set to their mean ("without_top_k", "without_bottom_k").
        by_layer: (layers,) how many of the first `counted` neurons are in each layer. counted: that number.
    """

    order: NDArray[np.intp]
    nonzero: int
    accuracies: dict[str, float]
    by_layer: NDArray[np.intp]
    counted: int


@dataclass(frozen=True)
class TaskNeurons:
    """The neurons of one model for one probing task; `tested` sentences are behind each accuracy."""

    model: str
    task: str
    ranking: Neurons
    tested: int

    @property
    def records(self) -> list[Record]:
        """Accuracies with the top and bottom neurons, alone and taken out; Wilson's intervals over test sentences."""
        by_layer = {"nonzero": self.ranking.nonzero, "by_layer": self.ranking.by_layer.tolist(),
                    "counted": self.ranking.counted}  # fmt: skip
        records = []
        for name, value in self.ranking.accuracies.items():
            low, high = wilson(value * self.tested, self.tested)
            where = {"low": low, "high": high, "n": self.tested, "detail": by_layer if name == "all" else {}}
            records.append(inspection_record(self.model, self.task, "neurons", f"{name}_neurons", value, **where))
        return records


def neurons(
    model: str | Path | TorchEncoder,
    task: str | TaskData,
    *,
    data_dir: str | Path | None = None,
    progress: bool = False,
) -> TaskNeurons:
    """Which neurons of all layers carry what a probing task asks for, by the mean vectors of its sentences.

    Args:
        model: a folder, a hub id, `embedded:NAME`, or a loaded transformer.
        task: the name of a task whose file is in `data_dir`/rusenteval, or its data.
        data_dir: None = $SLONIK_DATA, or the user's cache folder. progress: show it on standard error.

    Raises:
        SlonikError: no transformer, an unknown task, or one without a file.
    """
    encoder = open_transformer(model)
    data = task if isinstance(task, TaskData) else read_tasks(data_folder(data_dir), [task])[0][0]
    with shown(progress):
        train, test = (list(encoder.encode_layers(part.texts, ["mean"])["mean"]) for part in (data.train, data.test))
    ranking = rank_neurons(train, data.train.labels, test, data.test.labels)
    return TaskNeurons(encoder.name, data.task.id, ranking, len(data.test))


def rank_neurons(
    train: Sequence[NDArray[np.floating]],
    train_labels: NDArray[np.str_],
    test: Sequence[NDArray[np.floating]],
    test_labels: NDArray[np.str_],
    *,
    l1: float = 1e-3,
    top: Sequence[int] = _TOP,
) -> Neurons:
    """Rank the neurons of all layers.

    Args:
        train, test: vectors of every layer, (N, D) each. l1: strength of the penalty on |weight|.
        top: sizes k.

    Raises:
        SlonikError: fewer than two classes.
    """
    classes, targets = np.unique(train_labels, return_inverse=True)
    if len(classes) < 2:
        raise SlonikError(f"every training sentence has the label {classes[0]!r}: neurons need two classes")
    dimension = train[0].shape[1]
    x, y = _standardised(np.concatenate(train, axis=1), np.concatenate(test, axis=1))
    weights, bias = elastic_net(x, targets.ravel(), len(classes), l1=l1, l2=_L2)
    order = neuron_order(weights)

    def accuracy(inputs: Matrix, w: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return float((classes[(inputs @ w.T + b).argmax(1)] == test_labels).mean())

    def alone(chosen: NDArray[np.intp]) -> float:
        w, b = elastic_net(x[:, chosen], targets.ravel(), len(classes), l1=0.0, l2=_L2)
        return accuracy(y[:, chosen], w, b)

    def without(gone: NDArray[np.intp]) -> float:
        kept = weights.copy()
        kept[:, gone] = 0.0  # inputs are centred: zero is the mean
        return accuracy(y, kept, bias)

    sizes = [k for k in top if k <= len(order)]
    counted = min(max(sizes, default=len(order)), len(order))
    layers = np.bincount(order[:counted] // dimension, minlength=len(train))
    accuracies = {"all": accuracy(y, weights, bias)}
    for before, judge in (("", alone), ("without_", without)):
        accuracies |= {f"{before}top_{k}": judge(order[:k]) for k in sizes}
        accuracies |= {f"{before}bottom_{k}": judge(order[-k:]) for k in sizes}
    return Neurons(order, int((np.abs(weights).max(0) > 0).sum()), accuracies, layers, counted)


def neuron_order(weights: NDArray[np.float64]) -> NDArray[np.intp]:
    """(K, M) -> neurons, best first: by the smallest share of any class's mass that needs them."""
    sizes = np.abs(weights)
    rank = np.full(sizes.shape[1], np.inf)
    for row in sizes:
        places = np.argsort(-row, kind="stable")
        mass = np.cumsum(row[places]) / max(float(row.sum()), 1e-300)
        share = np.empty(len(row))
        share[places] = mass - row[places] / max(float(row.sum()), 1e-300)  # mass before the neuron
        share[row == 0] = 1.0
        rank = np.minimum(rank, share)
    return np.lexsort((-sizes.max(0), rank))


def elastic_net(
    features: Matrix, targets: NDArray[np.intp], classes: int, *, l1: float, l2: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minimise mean log-loss + l1 |W|_1 + l2/2 |W|^2 by accelerated proximal gradient (FISTA, Beck and Teboulle 2009).

    Returns:
        Weights (K, M) and free intercepts (K,).
    """
    n, m = features.shape
    truth = np.zeros((n, classes), dtype=np.float32)
    truth[np.arange(n), targets] = 1.0
    step = 1.0 / (0.5 * (_largest_eigenvalue(features) + 1.0) + l2)
    weights = np.zeros((classes, m + 1))
    ahead, momentum = weights.copy(), 1.0
    for _ in range(_ITERATIONS):
        scores = features @ ahead[:, :-1].T.astype(np.float32) + ahead[:, -1].astype(np.float32)
        scores -= scores.max(1, keepdims=True)
        np.exp(scores, out=scores)
        errors = scores / scores.sum(1, keepdims=True) - truth
        gradient = np.empty_like(ahead)
        gradient[:, :-1] = errors.T @ features / n + l2 * ahead[:, :-1]
        gradient[:, -1] = errors.mean(0)
        moved = ahead - step * gradient
        moved[:, :-1] = np.sign(moved[:, :-1]) * np.maximum(np.abs(moved[:, :-1]) - step * l1, 0.0)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = moved + (momentum - 1) / following * (moved - weights)
        weights, momentum = moved, following
    return weights[:, :-1], weights[:, -1]


def _largest_eigenvalue(features: Matrix) -> float:
    """Of X'X / N, by power iteration, from above."""
    vector = np.ones(features.shape[1], dtype=np.float32) / features.shape[1] ** 0.5
    value = 1.0
    for _ in range(20):
        image = features.T @ (features @ vector) / len(features)
        value = float(np.linalg.norm(image))
        if value == 0:
            return 0.0
        vector = image / value
    return 1.05 * value


def _standardised(train: NDArray[np.floating], test: NDArray[np.floating]) -> tuple[Matrix, Matrix]:
    mean, spread = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    spread = np.where(spread < 1e-8, 1.0, spread)
    return ((train - mean) / spread).astype(np.float32), ((test - mean) / spread).astype(np.float32)
