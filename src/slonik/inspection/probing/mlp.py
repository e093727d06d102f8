"""The original's second probe: one hidden layer of 250 sigmoid units with dropout 0.2 (Conneau et al. 2018), on torch.

As in RuSentEval: Adam at 1e-3, weight decay one of 1e-5 .. 1e-1 chosen by validation accuracy, batches of 256, at most
200 epochs, stop at the first rise of validation loss. Mended: the weights kept are those of the best epoch, not of the
one after it, and every seed is a run of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.core.hashing import derive_seed
from slonik.inspection.probing.probes import Features, ProbeResult
from slonik.inspection.probing.readers import TaskData

DECAYS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_HIDDEN = 250
_DROPOUT = 0.2
_BATCH = 256
_EPOCHS = 200


def fit_mlp(features: Features, data: TaskData, seed: int, decays: Sequence[float] = DECAYS) -> ProbeResult:
    """Train one network per weight decay and keep the one that validation prefers."""
    classes = np.array(data.classes)
    inputs = [torch.from_numpy(part) for part in (features.train, features.validation, features.test)]
    targets = _places(classes, data.train.labels), _places(classes, data.validation.labels)
    best: tuple[float, float] | None = None
    kept: tuple[nn.Module, float] | None = None
    with torch.random.fork_rng(devices=[]):
        for decay in decays:
            torch.manual_seed(derive_seed(seed, "mlp", data.task.id, decay) % 2**31)
            network, loss = _train(inputs[0], targets[0], inputs[1], targets[1], len(classes), decay)
            accuracy = float((_guess(network, inputs[1]) == targets[1]).float().mean())
            if best is None or (accuracy, -loss) > best:
                best, kept = (accuracy, -loss), (network, decay)
    assert kept is not None
    network, decay = kept
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
    places = np.searchsorted(classes, labels)
    places = np.where(classes[np.minimum(places, len(classes) - 1)] == labels, places, -100)
    return torch.from_numpy(places.astype(np.int64))


def _train(
    inputs: Tensor, targets: Tensor, held: Tensor, held_targets: Tensor, classes: int, decay: float
) -> tuple[nn.Module, float]:
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
            loss = float(criterion(network(held), held_targets))
        if not loss < lowest:
            break
        lowest, weights = loss, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(weights)
    return network.eval(), lowest


def _guess(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        guesses: Tensor = network(inputs).argmax(1)
    return guesses
