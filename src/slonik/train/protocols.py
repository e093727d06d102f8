"""What the loop asks of an objective and of a loader (any object with these methods will do), and what a loss is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Batch: TypeAlias = dict[str, Tensor]
"""Named tensors of one batch; the first axis of each is the texts."""
IntArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Loss:
    """The loss of one batch.

    Attributes:
        total: () the number to descend, a mean over `weight` items.
        parts: unweighted terms by name, () each, detached: for the log.
        weight: how many items (texts, masked tokens) `total` is a mean of. Accumulated batches and processes
            are averaged with these weights, so that two batches of 4 give the gradient of one batch of 8.
    """

    total: Tensor
    parts: dict[str, Tensor]
    weight: float = 1.0


def weighted_sum(terms: Mapping[str, tuple[float, Tensor]], weight: float = 1.0) -> Loss:
    """`Loss` of named (coefficient, term) pairs.

    Raises:
        ValueError: no terms.
    """
    if not terms:
        raise ValueError("a loss needs at least one term")
    totals = [coefficient * term for coefficient, term in terms.values()]
    total = totals[0]
    for value in totals[1:]:
        total = total + value
    return Loss(total, {name: term.detach() for name, (_, term) in terms.items()}, weight)


class Objective(Protocol):
    """What a model is trained for. If it is an `nn.Module`, its own parameters are trained and saved along."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Score the model on a batch: what to descend, and its parts for the log."""
        ...


class Corruption(Protocol):
    """What makes batches of bare texts: the half of a text objective that loaders of texts call."""

    def corrupt(self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator) -> Batch:
        """Token ids of B texts to a batch; everything random comes from `rng`."""
        ...


class TextObjective(Objective, Corruption, Protocol):
    """An objective on bare texts: language models, and distillation of vectors."""


class Loader(Protocol):
    """Batches by number: the same (epoch, index) gives the same batch in every run, whatever was read before."""

    fingerprint: str
    """Hash of everything the batches depend on; a run is resumed only with an equal one."""

    def plan(self, epoch: int) -> Sequence[IntArray]:
        """The texts of every batch of an epoch, in order."""
        ...

    def batch(self, epoch: int, index: int, texts: IntArray) -> Batch:
        """The batch of `texts` = plan(epoch)[index]."""
        ...
