"""Gate gradient of Michel et al. (2019): mean over examples of |dL/dgate|, scaled to length 1 within every layer.

The gate of a layer lets the layer's input pass, the gate of a hidden dimension takes it out of the norms' statistics:
both are what cutting does. Source: "Are Sixteen Heads Really Better than One?", section 4.1; the absolute value is per
example and nothing accumulates between batches, unlike in the script that went with Transformers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from slonik.compression.criteria.gradients import Batch, LossFunction, average
from slonik.compression.gates import KINDS
from slonik.compression.scores import FloatVector, Scores


def gate(
    model: PreTrainedModel, batches: Iterable[Batch], loss_fn: LossFunction, kinds: Collection[str] = KINDS
) -> Scores:
    """Score `kinds`; heads and neurons have L2 norm 1 within each layer.

    Raises:
        SlonikError: no examples, or a loss without any gradient.
    """
    raw = average("gate", model, batches, loss_fn, kinds, of=Tensor.abs)
    return replace(raw, heads=_unit(raw.heads), ffn=_unit(raw.ffn))


def _unit(layers: tuple[FloatVector, ...] | None) -> tuple[FloatVector, ...] | None:
    if layers is None:
        return None
    return tuple(values / (np.linalg.norm(values) + 1e-20) for values in layers)
