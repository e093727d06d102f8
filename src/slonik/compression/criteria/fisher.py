"""Fisher importance: mean over examples of the squared gate gradient.

With the probe loss of `slonik.train.objectives.closeness` (a random direction of the sentence vector) this is the
diagonal of the Gauss-Newton matrix: the expected squared movement of the vector when a structure is taken out, to
second order. It needs no label and, unlike a distance to the original's vectors, does not vanish at the original.

Source: the diagonal mask Fisher of Kwon et al. (2022), "A Fast Post-Training Pruning Framework for Transformers".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import Tensor
from transformers import PreTrainedModel

from slonik.compression.criteria.gradients import Batch, LossFunction, average
from slonik.compression.gates import KINDS
from slonik.compression.scores import Scores


def fisher(
    model: PreTrainedModel, batches: Iterable[Batch], loss_fn: LossFunction, kinds: Collection[str] = KINDS
) -> Scores:
    """Score `kinds` of structures.

    Raises:
        SlonikError: no examples, or a loss without any gradient.
    """
    return average("fisher", model, batches, loss_fn, kinds, of=Tensor.square)
