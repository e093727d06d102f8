"""Importance of every structure of a model, and its shape: what criteria return and `choose` reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from slonik.compression.shape import ModelShape

FloatVector = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Higher is more important; comparable within one kind, and between kinds where the criterion says so.

    Attributes:
        criterion: name of the function that made them.
        shape: the scored model's shape.
        examples: how many examples were averaged.
        heads: per layer, (H,). ffn: per layer, (F,). layers: (L,). hidden: (D,). None: not scored.
    """

    criterion: str
    shape: ModelShape
    examples: int
    heads: tuple[FloatVector, ...] | None = None
    ffn: tuple[FloatVector, ...] | None = None
    layers: FloatVector | None = None
    hidden: FloatVector | None = None

    def with_layers(self, layers: FloatVector) -> Scores:
        """The same scores with another judgement of whole layers, for example `depth.leave_one_out`."""
        return replace(self, layers=np.asarray(layers, dtype=np.float64))


def flat_scores(shape: ModelShape) -> Scores:
    """Scores that tell nothing apart: what a budget can be met with does not depend on them."""
    sizes = shape.sizes
    return Scores(
        criterion="flat",
        shape=shape,
        examples=0,
        heads=tuple(np.ones(count) for count in sizes.heads),
        ffn=tuple(np.ones(count) for count in sizes.ffn),
        layers=np.ones(shape.depth),
        hidden=np.ones(sizes.hidden),
    )
