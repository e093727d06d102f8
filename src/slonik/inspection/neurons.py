"""Which single neurons carry a property: linear attribution over all layers at once (Dalvi et al. 2019).

A multinomial logistic regression with an elastic-net penalty on the vectors of all layers side by side, solved until
its optimality conditions hold to a tolerance: neurons without weight at the optimum have no weight, and only the others
are ranked. Per class the neurons are ordered by |weight|, and a neuron's rank is the smallest share of a class's weight
mass at which it is among the top ones, as Durrani et al. (2020) and RuSentEval do. Then: accuracy of a probe on the top
k alone, accuracy when they (or as many others) are cut out of the fitted probe, in which layers they are, and how many
of them a resample of the training sentences would have named.

Shapes: N sentences, M neurons (layers x dimensions), K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.core.paths import data_dir as data_folder
from slonik.core.progress import shown, track, warn_once
from slonik.core.records import Record
from slonik.evaluation.long_texts import warn_cut
from slonik.inspection import inspection_record, source_hashes
from slonik.inspection.inputs import open_transformer
from slonik.inspection.intervals import wilson
from slonik.inspection.probing.tasks import TaskData, read_tasks
from slonik.inspection.twin import twin_of
from slonik.models.encoder import TorchEncoder

_TOP = (10, 30, 100, 300)
_L2 = 1e-3
_RESAMPLES = 10
_TOLERANCE = 1e-5
"""Largest component of the subgradient at the end, in nats per sentence: a hundredth of the usual penalty."""
_ITERATIONS = 20_000
_ENTERING = 500  # neurons that join the solver's working set at once
Matrix = NDArray[np.float32]
Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Neurons:
    """The result for one property.

    Attributes:
        order: neurons with any weight at the optimum, most important first. total: neurons there are.
        accuracies: of the probe on all neurons ("all"); of one fitted on the k first neurons alone ("top_k"), or on k
            without weight, drawn at random ("bottom_k"; the last ranked ones where these are too few); of the whole
            probe with these set to their mean ("without_top_k", "without_bottom_k").
        by_layer: (layers,) how many of the first `counted` neurons are in each layer. counted: that number.
        stability: k -> shares of the first k neurons that are among the first k of each resample of the training
            sentences; empty without resamples.
        residual: largest component of the subgradient where the solver ended.
    """

    order: NDArray[np.intp]
    total: int
    accuracies: dict[str, float]
    by_layer: NDArray[np.intp]
    counted: int
    stability: dict[int, tuple[float, ...]]
    residual: float

    @property
    def nonzero(self) -> int:
        """Neurons with any weight."""
        return len(self.order)


@dataclass(frozen=True)
class TaskNeurons:
    """The neurons of one model for one probing task; `tested` sentences are behind each accuracy.

    Attributes:
        prefix: what was put before every sentence, None = the model's own. hashes: of weights, sentences and the file.
        twin: the same of the model with random weights, without resamples; None where it was not asked for.
    """

    model: str
    task: str
    ranking: Neurons
    tested: int
    prefix: str | None
    hashes: dict[str, str]
    twin: TaskNeurons | None = None

    @property
    def records(self) -> list[Record]:
        """Accuracies with the top and bottom neurons, alone and taken out; Wilson's intervals over test sentences.

        Those of the twin follow.
        """
        found = self.ranking
        facts = {"nonzero": found.nonzero, "neurons": found.total, "by_layer": found.by_layer.tolist(),
                 "counted": found.counted, "residual": found.residual, "prefix": self.prefix,
                 "stability": {str(k): [min(s), sum(s) / len(s), max(s)] for k, s in found.stability.items()},
                 "resamples": len(next(iter(found.stability.values()), ()))}  # fmt: skip
        records = []
        for name, value in found.accuracies.items():
            low, high = wilson(value * self.tested, self.tested)
            where = {"low": low, "high": high, "n": self.tested, "detail": facts if name == "all" else {}}
            where |= {"hashes": self.hashes}
            records.append(inspection_record(self.model, self.task, "neurons", f"{name}_neurons", value, **where))
        return records + (self.twin.records if self.twin is not None else [])


def neurons(
    model: str | Path | TorchEncoder,
    task: str | TaskData,
    *,
    data_dir: str | Path | None = None,
    prefix: str | None = None,
    limit: int | None = None,
    twin: bool = True,
    progress: bool = False,
) -> TaskNeurons:
    """Which neurons of all layers carry what a probing task asks for, by the mean vectors of its sentences.

    Args:
        model: a folder, a hub id, `embedded:NAME`, or a loaded transformer.
        task: the name of a task whose file is in `data_dir`/rusenteval, or its data.
        data_dir: None = $SLONIK_DATA, or the user's cache folder.
        prefix: before every sentence, None = the model's own.
        limit: at most this many sentences of a task that is read here. progress: show it on standard error.
        twin: rank the neurons of the model with random weights too.

    Raises:
        SlonikError: no transformer, an unknown task, or one without a file.
    """
    encoder = open_transformer(model)
    data = task if isinstance(task, TaskData) else read_tasks(data_folder(data_dir), [task], limit=limit)[0][0]
    warn_cut(encoder, [*data.train.texts, *data.test.texts], prefix, what=f"sentences of {data.task.id}")
    with shown(progress):
        other = twin_of(encoder, twin)
        beside = None if other is None else _of_task(other, data, prefix, 0, None)
        return _of_task(encoder, data, prefix, _RESAMPLES, beside)


def _of_task(
    encoder: TorchEncoder, data: TaskData, prefix: str | None, resamples: int, twin: TaskNeurons | None
) -> TaskNeurons:
    parts = [encoder.encode_layers(part.texts, ["mean"], prefix=prefix)["mean"] for part in (data.train, data.test)]
    ranking = rank_neurons(
        list(parts[0]), data.train.labels, list(parts[1]), data.test.labels, resamples=resamples
    )  # fmt: skip
    hashes = source_hashes(encoder, [*data.train.texts, *data.test.texts]) | {"data": data.sha256}
    return TaskNeurons(encoder.name, data.task.id, ranking, len(data.test), prefix, hashes, twin)


def rank_neurons(
    train: Sequence[NDArray[np.floating]],
    train_labels: NDArray[np.str_],
    test: Sequence[NDArray[np.floating]],
    test_labels: NDArray[np.str_],
    *,
    l1: float = 1e-3,
    top: Sequence[int] = _TOP,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Neurons:
    """Rank the neurons of all layers.

    Args:
        train, test: vectors of every layer, (N, D) each. l1: strength of the penalty on |weight|.
        top: sizes k; those above the number of neurons with weight are left out.
        resamples: bootstrap samples of the training sentences, each ranked anew. seed: of these, and of neurons drawn.

    Raises:
        SlonikError: fewer than two classes, or a penalty that leaves no neuron any weight.
    """
    classes, found = np.unique(train_labels, return_inverse=True)
    targets = found.ravel()
    if len(classes) < 2:
        raise SlonikError(f"every training sentence has the label {classes[0]!r}: neurons need two classes")
    dimension = train[0].shape[1]
    x, y = _standardised(np.concatenate(train, axis=1), np.concatenate(test, axis=1))
    weights, bias = elastic_net(x, targets, len(classes), l1=l1, l2=_L2)
    order = neuron_order(weights)
    if not len(order):
        raise SlonikError(f"no neuron has any weight with l1 = {l1}: give a smaller one")
    residual = _residual(x, targets, weights, bias, l1)
    if residual > 10 * _TOLERANCE:
        warn_once(f"the ranking of neurons is {residual:.1e} away from its optimum after {_ITERATIONS} iterations")

    def accuracy(inputs: Matrix, w: Weights, b: Weights) -> float:
        return float((classes[(inputs @ w.T + b).argmax(1)] == test_labels).mean())

    def alone(chosen: NDArray[np.intp]) -> float:
        w, b = elastic_net(x[:, chosen], targets, len(classes), l1=0.0, l2=_L2)
        return accuracy(y[:, chosen], w, b)

    def without(gone: NDArray[np.intp]) -> float:
        kept = weights.copy()
        kept[:, gone] = 0.0  # inputs are centred: zero is the mean
        return accuracy(y, kept, bias)

    sizes = [k for k in top if k <= len(order)] or [len(order)]
    counted = max(sizes)
    layers = np.bincount(order[:counted] // dimension, minlength=len(train))
    others = np.random.default_rng(derive_seed(seed, "neurons without weight")).permutation(
        np.setdiff1d(np.arange(x.shape[1]), order)
    )
    bottom = np.concatenate([others, order[::-1]])
    accuracies = {"all": accuracy(y, weights, bias)}
    for before, judge in (("", alone), ("without_", without)):
        accuracies |= {f"{before}top_{k}": judge(order[:k]) for k in sizes}
        accuracies |= {f"{before}bottom_{k}": judge(bottom[:k]) for k in sizes}
    stability: dict[int, list[float]] = {k: [] for k in sizes} if resamples else {}
    for number in track(range(resamples), "resamples of the neurons' ranking", resamples):
        again = _resampled_order(x, targets, len(classes), l1, derive_seed(seed, "neurons", number))
        for k, shares in stability.items():
            shares.append(len(np.intersect1d(order[:k], again[:k])) / k)
    return Neurons(
        order, x.shape[1], accuracies, layers, counted, {k: tuple(s) for k, s in stability.items()}, residual
    )


def _resampled_order(x: Matrix, targets: NDArray[np.intp], classes: int, l1: float, seed: int) -> NDArray[np.intp]:
    """The ranking on as many sentences drawn with repetition; classes keep their numbers of sentences."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.choice(own, len(own)) for own in (np.flatnonzero(targets == k) for k in range(classes))])
    weights, _ = elastic_net(x[rows], targets[rows], classes, l1=l1, l2=_L2)
    return neuron_order(weights)


def neuron_order(weights: Weights) -> NDArray[np.intp]:
    """(K, M) -> neurons with any weight, best first: by the smallest share of any class's mass that needs them."""
    sizes = np.abs(weights)
    rank = np.full(sizes.shape[1], np.inf)
    for row in sizes:
        places = np.argsort(-row, kind="stable")
        mass = np.cumsum(row[places]) / max(float(row.sum()), 1e-300)
        share = np.empty(len(row))
        share[places] = mass - row[places] / max(float(row.sum()), 1e-300)  # mass before the neuron
        share[row == 0] = 1.0
        rank = np.minimum(rank, share)
    order = np.lexsort((-sizes.max(0), rank))
    kept: NDArray[np.intp] = order[sizes.max(0)[order] > 0]
    return kept


def elastic_net(
    features: Matrix, targets: NDArray[np.intp], classes: int, *, l1: float, l2: float, tolerance: float = _TOLERANCE
) -> tuple[Weights, Weights]:
    """Minimise mean log-loss + l1 |W|_1 + l2/2 |W|^2 until no component of its subgradient is above `tolerance`.

    L-BFGS-B on positive and negative parts of the weights, over the neurons that have or want weight: after each
    solution those whose gradient exceeds the penalty join in, until none does.

    Returns:
        Weights (K, M), exact zeros among them, and free intercepts (K,).
    """
    n, m = features.shape
    truth = np.zeros((n, classes))
    truth[np.arange(n), targets] = 1.0
    weights = np.zeros((classes, m))
    bias = np.log(np.maximum(truth.mean(0), 1e-12))
    working = np.arange(m) if l1 == 0 else np.array([], dtype=np.intp)
    while True:
        if len(working) or l1 == 0:
            inputs = features[:, working].astype(np.float64)
            weights[:, working], bias = _solved(inputs, truth, weights[:, working], bias, l1, l2, tolerance)
        errors = _probabilities(features @ weights.T.astype(np.float32) + bias) - truth
        excess = np.abs(errors.T.astype(np.float32) @ features / n + l2 * weights).max(0) - l1
        excess[working] = 0.0
        wanting = np.flatnonzero(excess > tolerance)
        if not len(wanting):
            return weights, bias
        entering = wanting[np.argsort(-excess[wanting], kind="stable")[:_ENTERING]]
        working = np.concatenate([working, entering])


def _solved(
    inputs: Weights, truth: Weights, start: Weights, bias: Weights, l1: float, l2: float, tolerance: float
) -> tuple[Weights, Weights]:
    from scipy.optimize import minimize

    n, m = inputs.shape
    classes = truth.shape[1]
    size = classes * m

    def loss(flat: Weights) -> tuple[float, Weights]:
        parts = flat[:-classes].reshape(2, classes, m)
        w, b = parts[0] - parts[1], flat[-classes:]
        scores = inputs @ w.T + b
        scores -= scores.max(1, keepdims=True)
        totals = np.log(np.exp(scores).sum(1))
        value = float(totals.mean() - (scores * truth).sum() / n)
        value += l1 * float(flat[:-classes].sum()) + 0.5 * l2 * float((w * w).sum())
        errors = np.exp(scores - totals[:, None]) - truth
        gradient = errors.T @ inputs / n + l2 * w
        return value, np.concatenate([(gradient + l1).ravel(), (l1 - gradient).ravel(), errors.mean(0)])

    first = np.concatenate([np.maximum(start, 0).ravel(), np.maximum(-start, 0).ravel(), bias])
    bounds = [(0.0, None)] * (2 * size) + [(None, None)] * classes
    options = {"maxiter": _ITERATIONS, "maxfun": 2 * _ITERATIONS, "gtol": tolerance, "ftol": 0.0, "maxcor": 20}
    found = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    parts = found[:-classes].reshape(2, classes, m)
    return parts[0] - parts[1], found[-classes:]


def _probabilities(scores: NDArray[np.floating]) -> Weights:
    found: Weights = np.exp(scores - scores.max(1, keepdims=True), dtype=np.float64)
    found /= found.sum(1, keepdims=True)
    return found


def _residual(x: Matrix, targets: NDArray[np.intp], weights: Weights, bias: Weights, l1: float) -> float:
    """Largest component of the least subgradient at these weights."""
    errors = _probabilities(x @ weights.T.astype(np.float32) + bias)
    errors[np.arange(len(x)), targets] -= 1.0
    gradient = errors.T @ x.astype(np.float64) / len(x) + _L2 * weights
    beyond = np.maximum(np.abs(gradient) - l1, 0.0)
    return float(np.where(weights == 0, beyond, np.abs(gradient + l1 * np.sign(weights))).max())


def _standardised(train: NDArray[np.floating], test: NDArray[np.floating]) -> tuple[Matrix, Matrix]:
    mean, spread = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    spread = np.where(spread < 1e-8, 1.0, spread)
    return ((train - mean) / spread).astype(np.float32), ((test - mean) / spread).astype(np.float32)
