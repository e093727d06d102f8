"""What the loop asks of an objective, of its loss and of a loader; any object with these methods will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Batch: TypeAlias = dict[str, Tensor]
IntArray: TypeAlias = NDArray[np.int64]


class LossLike(Protocol):
    """A loss: `total` to descend, a mean over `weight` items; `parts` for the log."""

    @property
    def total(self) -> Tensor:
        """() with gradient."""
        ...

    @property
    def parts(self) -> Mapping[str, Tensor]:
        """Named () tensors, detached."""
        ...

    @property
    def weight(self) -> float:
        """Items that `total` is a mean of."""
        ...


class Objective(Protocol):
    """What a model is trained for. If it is an `nn.Module`, its own parameters are trained and saved along."""

    def loss(self, model: nn.Module, batch: Batch) -> LossLike:
        """Score the model on a batch."""
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
