"""The most frequent label of the training data for every item, and the most mentioned entity in RuCoS.

For RuCoS the published row (.25 / .247) does not say what its majority is; ours is the entity that the passage
mentions most often, the first of equals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from slonik.evaluation.russian_superglue.baselines.answerer import Answerer
from slonik.evaluation.russian_superglue.examples import Example
from slonik.evaluation.russian_superglue.labels import label_name
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.tasks import Label, Task


def fit_majority(task: Task, train: Sequence[Example], seed: int = 0) -> Answerer:
    """The baseline `majority`.

    Args:
        train: labelled examples; not looked at for RuCoS.
        seed: not used.
    """
    if not task.labels:
        return _most_mentioned
    shares = label_shares(task, train)
    probabilities = {label_name(label): share for label, share in shares.items()}
    best = max(shares, key=lambda label: shares[label])
    return lambda examples: [Prediction(example.idx, best, probabilities) for example in examples]


def label_shares(task: Task, train: Sequence[Example]) -> dict[Label, float]:
    """Share of each label in the training data, labels in sorted order (so that the first of equals is the same)."""
    counts = Counter(label_name(example.label) for example in train if example.label is not None)
    total = sum(counts.values()) or 1
    return {label: counts[label_name(label)] / total for label in sorted(task.labels, key=label_name)}


def mentions(example: Example) -> dict[str, int]:
    """RuCoS: entity -> how often its text stands in the passage, in order of first mention."""
    passage = str(example.fields["passage"])
    return {entity: max(1, passage.count(entity)) for entity in example.fields["entities"]}


def _most_mentioned(examples: Sequence[Example]) -> list[Prediction]:
    rows = []
    for example in examples:
        counts = mentions(example)
        total = sum(counts.values())
        probabilities = {entity: count / total for entity, count in counts.items()}
        rows.append(Prediction(example.idx, max(counts, key=lambda entity: counts[entity]), probabilities))
    return rows
