"""What of a student stays as it is while the rest is taught.

Does not: freeze large embedding tables alone, which is the training loop's (`train.optimizers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.models.anatomy import dissect


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Within the block these parameters have no gradient; those that had one have it again behind it."""
    found = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in found:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in found:
            parameter.requires_grad_(True)


def check_upper_layers(upper_layers: int | None, count: int) -> None:
    """Refuse to train more layers than the student has, as soon as it is known how many it will have.

    Raises:
        SlonikError: there are `count` of them alone.
    """
    if upper_layers is not None and upper_layers > count:
        raise SlonikError(
            f"distill.upper_layers is {upper_layers}, and the student has {count} layers: give a number from 1 to "
            f"{count}, or leave it out to train everything"
        )


def below(model: PreTrainedModel, upper_layers: int | None) -> list[nn.Parameter]:
    """The parameters under the uppermost layers: embeddings and lower layers; none where no number is given.

    Raises:
        SlonikError: the model has fewer layers.
    """
    if upper_layers is None:
        return []
    found = dissect(model)
    count = len(found.layers)
    check_upper_layers(upper_layers, count)
    lower = []
    inputs = True  # what is registered before the first layer
    for name, parameter in model.named_parameters():
        layer = found.axes[name].layer
        inputs = inputs and layer is None
        if inputs or (layer is not None and layer < count - upper_layers):
            lower.append(parameter)
    return lower
