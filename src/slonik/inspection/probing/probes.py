"""Two probes of one layer: logistic regression, and a network with one hidden layer.

Logistic regression at its exact optimum, with the penalty that validation prefers; the network is the original's second
probe. Both are fitted to control labels as they are to a task's (`control`). What the effort of a probe costs is
counted in `codelength`.

Vectors are divided by one number, their root mean square deviation, so that one grid of penalties suits every layer.
Training, choosing and testing see different sentences. Shapes: N sentences, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slonik.core.hashing import derive_seed
from slonik.evaluation.logistic import LogisticModel, PreparedLogistic
from slonik.inspection.probing.tasks import TaskData

if TYPE_CHECKING:
    from torch import Tensor, nn

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C, inverse strength, for vectors of unit deviation

# The network's settings are the original's.
DECAYS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_HIDDEN = 250
_DROPOUT = 0.2
_BATCH = 256
_EPOCHS = 200

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
        train_accuracy: on what it was fitted to. setting: the penalty (or weight decay) that was chosen.
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
        fits: list[tuple[tuple[float, float], LogisticModel, float, Correct]] = []
        for c in penalties:
            model = self._prepared.fit(data.train.labels, c=c)
            probabilities = model.probabilities(self._features.validation)
            right = model.classes[probabilities.argmax(1)] == data.validation.labels
            rank = (float(right.mean()), -_loss(model, probabilities, data.validation.labels))
            fits.append((rank, model, c, right))
        _, model, c, right = max(fits, key=lambda fit: fit[0])  # the first of equals
        predictions = model.predict(self._features.test)
        trained = float((model.predict(self._features.train) == data.train.labels).mean())
        return ProbeResult(predictions == data.test.labels, right, predictions, trained, c)


def _loss(model: LogisticModel, probabilities: NDArray[np.float64], labels: NDArray[np.str_]) -> float:
    known = np.isin(labels, model.classes)
    if not known.any():
        return float("inf")
    places = np.searchsorted(model.classes, labels[known])
    return float(-np.log(np.maximum(probabilities[known, places], 1e-12)).mean())


def fit_mlp(features: Features, data: TaskData, seed: int, decays: Sequence[float] = DECAYS) -> ProbeResult:
    """One hidden layer of 250 sigmoid units with dropout 0.2 (Conneau et al. 2018): the decay that validation prefers.

    As in RuSentEval: Adam at 1e-3, batches of 256, at most 200 epochs, stop at the first rise of validation loss.
    Mended: the weights kept are those of the best epoch, not of the one after it, and every seed is a run of its own.
    """
    import torch

    classes = np.array(data.classes)
    inputs = [torch.from_numpy(part) for part in (features.train, features.validation, features.test)]
    targets = _places(classes, data.train.labels), _places(classes, data.validation.labels)
    runs: list[tuple[tuple[float, float], nn.Module, float]] = []
    with torch.random.fork_rng(devices=[]):
        for decay in decays:
            torch.manual_seed(derive_seed(seed, "mlp", data.task.id, decay) % 2**31)
            network, loss = _train(inputs[0], targets[0], inputs[1], targets[1], len(classes), decay)
            accuracy = float((_guess(network, inputs[1]) == targets[1]).float().mean())
            runs.append(((accuracy, -loss), network, decay))
    _, network, decay = max(runs, key=lambda run: run[0])  # the first of equals
    guesses: list[NDArray[np.str_]] = [classes[_guess(network, part).numpy()] for part in inputs]
    return ProbeResult(
        guesses[2] == data.test.labels,
        guesses[1] == data.validation.labels,
        guesses[2],
        float((guesses[0] == data.train.labels).mean()),
        decay,
    )


def _places(classes: NDArray[np.str_], labels: NDArray[np.str_]) -> Tensor:
    """Class numbers; -100, which the loss leaves out, for labels that training lacks."""
    import torch

    places = np.searchsorted(classes, labels)
    places = np.where(classes[np.minimum(places, len(classes) - 1)] == labels, places, -100)
    return torch.from_numpy(places.astype(np.int64))


def _train(
    inputs: Tensor, targets: Tensor, validation: Tensor, validation_targets: Tensor, classes: int, decay: float
) -> tuple[nn.Module, float]:
    """The network at its best epoch, and its validation loss there."""
    import torch
    from torch import nn

    network = nn.Sequential(
        nn.Linear(inputs.shape[1], _HIDDEN), nn.Sigmoid(), nn.Dropout(_DROPOUT), nn.Linear(_HIDDEN, classes)
    )
    optimizer = torch.optim.Adam(network.parameters(), weight_decay=decay)
    criterion = nn.CrossEntropyLoss()
    lowest, weights = float("inf"), {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(_EPOCHS):
        network.train()
        for rows in torch.randperm(len(inputs)).split(_BATCH):
            optimizer.zero_grad()
            criterion(network(inputs[rows]), targets[rows]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            loss = float(criterion(network(validation), validation_targets))
        if not loss < lowest:
            break
        lowest, weights = loss, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(weights)
    return network.eval(), lowest


def _guess(network: nn.Module, inputs: Tensor) -> Tensor:
    import torch

    with torch.no_grad():
        guesses: Tensor = network(inputs).argmax(1)
    return guesses
