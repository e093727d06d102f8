"""The student that DistilBERT begins with: every second layer of its teacher, embeddings and head included.

Source: Sanh et al., "DistilBERT" (2019), section 2: "initializing the student from the teacher by taking one layer out
of two". Train it with `slonik.train.objectives.distilbert`; both keep one vocabulary here, and after
`slonik tokenizer trim` the teacher's ids of the student's pieces are `models.shared_vocabulary.matching_ids`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedModel

from slonik.compression.plan import keep_layers, whole
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError


def student_of(teacher: PreTrainedModel, *, every: int = 2) -> PreTrainedModel:
    """A new model with layers 0, `every`, 2 `every`, ... of `teacher`, which is left as it is.

    Raises:
        SlonikError: `every` is below 2, or the family cannot be cut.
    """
    if every < 2:
        raise SlonikError(f"a student with every {every}th layer would be its teacher: give 2 or more")
    with _without_pooler(teacher) as pooler:
        plan = whole(teacher)
        student = apply(teacher, keep_layers(plan, plan.layers[::every]), check_parent=False)
    if pooler is not None:
        student.base_model.pooler = copy.deepcopy(pooler)
    return student


@contextmanager
def _without_pooler(model: PreTrainedModel) -> Iterator[Any]:
    """Takes a pooler off the body of a model with a head, whose class knows none; puts it back."""
    body: Any = model.base_model
    pooler = getattr(body, "pooler", None) if body is not model else None
    if pooler is not None:
        body.pooler = None
    try:
        yield pooler
    finally:
        if pooler is not None:
            body.pooler = pooler
