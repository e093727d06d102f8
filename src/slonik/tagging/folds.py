"""Folds of whole documents with a recorded seed: the sentences of one text never stand on both sides.

Documents are dealt to folds one by one, those with the rarest labels first, each to the fold that lacks its labels
most (iterative stratification, Sechidis et al. 2011): otherwise 48 hackers in five folds would leave one without any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.data.annotations.document import Counts, Document


def document_folds(documents: Sequence[Document], folds: int, seed: int) -> list[list[int]]:
    """Indices of the documents of each fold, ascending; every document is in exactly one.

    The result depends on the documents' ids, labels and `seed`, not on their order.

    Raises:
        SlonikError: fewer than two folds, or fewer documents than folds.
    """
    if folds < 2:
        raise SlonikError(f"{folds} fold: a cross-validation needs at least 2")
    if len(documents) < folds:
        raise SlonikError(f"{len(documents)} documents cannot make {folds} folds: ask for fewer")
    labels = [Counter(span.label for span in document.spans) for document in documents]
    total: Counter[str] = sum(labels, Counter())
    rng = np.random.default_rng(derive_seed(seed, "folds", folds, len(documents)))
    by_name = sorted(range(len(documents)), key=lambda index: documents[index].id)
    order = [by_name[place] for place in rng.permutation(len(documents))]
    wanted = [Counter({label: count / folds for label, count in total.items()}) for _ in range(folds)]
    room = [len(documents) / folds] * folds
    found: list[list[int]] = [[] for _ in range(folds)]
    left = dict.fromkeys(order)

    def deal(index: int, label: str | None) -> None:
        fold = max(range(folds), key=lambda f: (wanted[f][label] if label else 0.0, room[f], -f))
        found[fold].append(index)
        room[fold] -= 1
        for name, count in labels[index].items():
            wanted[fold][name] -= count
        del left[index]

    for label, _ in sorted(total.items(), key=lambda item: (item[1], item[0])):
        holders = sorted((index for index in left if labels[index][label]), key=lambda index: -labels[index][label])
        for index in holders:
            deal(index, label)
    for index in list(left):
        deal(index, None)
    return [sorted(fold) for fold in found]


def missing_labels(documents: Sequence[Document], folds: Sequence[Sequence[int]], counts: Counts) -> list[str]:
    """A sentence per label that some fold lacks, in test or in training, which is also counted."""
    everywhere = sorted({span.label for document in documents for span in document.spans})
    sentences = []
    for label in everywhere:
        holders = [number for number, fold in enumerate(folds) if _has(documents, fold, label)]
        if len(holders) < len(folds):
            counts["labels absent from a fold"] += 1
            without = [str(number) for number in range(len(folds)) if number not in holders]
            alone = f"; nothing to learn it from when fold {holders[0]} is the test" if len(holders) == 1 else ""
            sentences.append(f"{label} is in no document of fold {', '.join(without)}{alone}")
    return sentences


def _has(documents: Sequence[Document], fold: Iterable[int], label: str) -> bool:
    return any(span.label == label for index in fold for span in documents[index].spans)
