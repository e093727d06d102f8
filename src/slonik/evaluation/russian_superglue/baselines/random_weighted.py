"""A label drawn for each item with the shares of the training data; in RuCoS a mention drawn at random.

One draw by seed, as published; its score is that of chance, with the spread of chance.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from slonik.core.hashing import derive_seed
from slonik.evaluation.russian_superglue.baselines.answerer import Answerer
from slonik.evaluation.russian_superglue.baselines.majority import label_shares, mentions
from slonik.evaluation.russian_superglue.examples import Example
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.tasks import Task


def fit_random_weighted(task: Task, train: Sequence[Example], seed: int = 0) -> Answerer:
    """The baseline `random_weighted`.

    Args:
        train: labelled examples; not looked at for RuCoS.
        seed: of the draw.
    """
    shares = label_shares(task, train) if task.labels else {}
    labels = list(shares)

    def answer(examples: Sequence[Example]) -> list[Prediction]:
        rows = []
        for example in examples:
            options = labels or list(mentions(example))
            weights = list(shares.values() if labels else mentions(example).values())
            # each item has a draw of its own, so that parts of a file are answered as the whole is
            drawn = derive_seed(seed, "random_weighted", task.id, example.idx) / 2**63 * sum(weights)
            place = bisect_right(list(accumulate(weights)), drawn)
            rows.append(Prediction(example.idx, options[min(place, len(options) - 1)]))
        return rows

    return answer
