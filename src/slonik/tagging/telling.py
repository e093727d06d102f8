"""Choose the unlabelled texts from which a student has most to learn: those where the teacher finds rare labels.

Texts drawn by chance hold the frequent labels again and again and the rare ones hardly ever. Trains nothing; that the
choice leans on the teacher's own belief, wrong ones included, is its price.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.tagging.teacher import soft_labels


def telling_texts(teacher: NeuralTagger, texts: Sequence[str], count: int, cache: Path) -> list[str]:
    """The `count` texts with most names by the teacher's belief, rare labels counting more, in their order.

    A text scores the sum over labels of its expected number of names divided by the root of that label's expected
    number in all `texts`; of equal scores the earlier text wins.

    Args:
        cache: folder of what teachers said.

    Raises:
        SlonikError: as `soft_labels` does.
    """
    if len(texts) <= count:
        return list(texts)
    said = soft_labels(teacher, texts, teacher.features, teacher.bio, cache)
    names = np.stack([expected_names(rows) for rows in said])
    scores = (names / np.sqrt(np.maximum(names.sum(0), 1e-9))).sum(-1)
    kept = np.argsort(-scores, kind="stable")[:count]
    return [texts[index] for index in sorted(kept.tolist())]


def expected_names(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """(C,) the expected number of names of each class, from (W, L) probabilities of BIO labels."""
    begins: NDArray[np.float64] = probabilities[:, 1::2].astype(np.float64).sum(0)
    return begins
