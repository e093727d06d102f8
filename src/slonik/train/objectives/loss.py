"""What an objective hands to the training loop: a number to descend, its parts for the log, and its weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

Batch: TypeAlias = dict[str, Tensor]
"""Named tensors of one batch; the first axis of each is the texts."""


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
