"""First-order Taylor importance: |sum over a structure's weights of w * dL/dw|, averaged over examples.

A structure's weights here are those through which it writes: a head's columns of the attention's output projection,
a neuron's column of the last feed-forward matrix, a layer's two output projections with their biases, a hidden
dimension's scale and shift in every norm. Removing the structure sets exactly these to zero, so the sum is the
first-order change of the loss. (Weights further in, such as a head's value rows, would count the same removal twice.)

Because what a structure writes is linear in these weights, y = sum_k w_k x_k, the sum of w * dL/dw equals the
gradient by a gate g at g = 1 that multiplies y: dL/dg = <y, dL/dy> = sum_k w_k <x_k, dL/dy> = sum_k w_k dL/dw_k.
That is how it is computed; the tests compare it with the sum over weights. Absolute values are taken per example, so
examples that pull in opposite directions do not cancel, and the score is the same at any batch size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import Tensor
from transformers import PreTrainedModel

from slonik.compression.criteria.gradients import Batch, LossFunction, average
from slonik.compression.gates import KINDS
from slonik.compression.scores import Scores


def taylor(
    model: PreTrainedModel, batches: Iterable[Batch], loss_fn: LossFunction, kinds: Collection[str] = KINDS
) -> Scores:
    """Score `kinds` of structures.

    Args:
        batches: dicts of tensors, first axis = examples. loss_fn: loss of every example, see `LossFunction`.

    Raises:
        SlonikError: no examples, or a loss without any gradient.
    """
    return average(
        "taylor", model, batches, loss_fn, kinds, of=Tensor.abs, sources={"layers": "branches"}, kept_statistics=False
    )
