"""Random importance: the control that any other criterion must beat."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from transformers import PreTrainedModel

from slonik.compression.criteria.gradients import Batch, LossFunction
from slonik.compression.gates import KINDS
from slonik.compression.scores import Scores
from slonik.compression.shape import shape_of


def random(
    model: PreTrainedModel,
    batches: Iterable[Batch] = (),
    loss_fn: LossFunction | None = None,
    kinds: Collection[str] = KINDS,
    *,
    seed: int = 0,
) -> Scores:
    """Uniform scores, equal for equal seeds; `batches` and `loss_fn` are not used."""
    rng = np.random.default_rng(seed)
    shape = shape_of(model)
    sizes = shape.sizes
    return Scores(
        criterion="random",
        shape=shape,
        examples=0,
        heads=tuple(rng.random(count) for count in sizes.heads) if "heads" in kinds else None,
        ffn=tuple(rng.random(count) for count in sizes.ffn) if "ffn" in kinds else None,
        layers=rng.random(shape.depth) if "layers" in kinds else None,
        hidden=rng.random(sizes.hidden) if "hidden" in kinds else None,
    )
