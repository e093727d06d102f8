"""Where a tagger's figures come from: per label, names seen and unseen, and documents that hold much of a label.

Details of the records that `metrics` makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

import numpy as np

from slonik.data.annotations.document import Document, Span
from slonik.data.annotations.tags import tokenize
from slonik.evaluation.statistics import Statistic, interval, replicates, value_of
from slonik.tagging.matching import (
    PooledF1,
    Tallies,
)
from slonik.tagging.span_statistics import (
    DIFFERENCES,
    OverSeeds,
    over_seeds,
    rounded,
)

_HEAVY = 0.15  # share of a label's spans in one document
_LEAST_SPANS, _LEAST_DOCUMENTS = 10, 5


def heavy_documents(documents: Sequence[Document]) -> list[tuple[str, int, int, int]]:
    """(label, document, its spans, all spans) where one of several documents holds much of a label.

    Much is `_HEAVY` of its spans and `_LEAST_SPANS` or more, of a label that `_LEAST_DOCUMENTS` documents have: such a
    list of names says how well a tagger reads that list.
    """
    counts = [Counter(span.label for span in document.spans) for document in documents]
    total: Counter[str] = sum(counts, Counter())
    found = []
    for label in sorted(total):
        holders = [index for index, own in enumerate(counts) if own[label]]
        if len(holders) < _LEAST_DOCUMENTS:
            continue
        found += [
            (label, index, counts[index][label], total[label])
            for index in holders
            if counts[index][label] >= max(_LEAST_SPANS, _HEAVY * total[label])
        ]
    return found


def without_heavy(
    runs: Sequence[Tallies], documents: Sequence[Document], heavy: Sequence[tuple[str, int, int, int]],
    gold_labels: int, seed: int, sample: str,
) -> dict[str, Any]:  # fmt: skip
    """Metrics without the documents that hold much of a label, beside which documents these are."""
    gone = {index for _, index, _, _ in heavy}
    kept = [index for index in range(len(documents)) if index not in gone]
    parts = [run.of(kept) for run in runs]
    found: dict[str, Any] = {
        "documents": [
            {"label": label, "document": documents[index].id, "spans": own, "of": total}
            for label, index, own, total in heavy
        ]
    }
    if not kept or not parts[0].exact.any():
        return found
    for metric, statistic in over_seeds(parts, gold_labels, "without").items():
        if metric in DIFFERENCES:
            ends = interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"{sample} without"))
            found[metric] = {name: rounded(value) for name, value in ends.fields.items()}
    for label in sorted({label for label, *_ in heavy}):
        place = runs[0].labels.index(label)
        values = [value_of(PooledF1(part.exact[:, place])) for part in parts]
        found.setdefault("per_label", {})[label] = rounded(float(np.mean(values)))
    return found


def name_key(words: str) -> str:
    """A name as it is known again: its words in lower case, a space between."""
    return " ".join(words[start:end].lower() for start, end in tokenize(words))


def names_in(documents: Iterable[Document]) -> frozenset[str]:
    """The names that documents mark."""
    return frozenset(name_key(one.text[span.start : span.end]) for one in documents for span in one.spans)


def by_names(
    documents: Sequence[Document], predicted: Sequence[Sequence[Span]], seen: Sequence[Collection[str]], seed: int,
    sample: str,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Counts, F1 and recall with intervals of names that the training texts mark, and of those that they do not."""
    counts = np.zeros((2, len(documents), 3), dtype=np.int64)
    for row, (document, spans, known) in enumerate(zip(documents, predicted, seen, strict=True)):
        sides = [set(document.spans), set(spans)]
        for side, (one, other) in enumerate((sides, sides[::-1])):
            for span in one:
                new = name_key(document.text[span.start : span.end]) not in known
                if span not in other:
                    counts[int(new), row, 2 - side] += 1
                elif side == 0:
                    counts[int(new), row, 0] += 1
    found = {}
    for place, name in enumerate(("seen", "unseen")):
        right, wrong, missed = counts[place].sum(0).tolist()
        found[name] = {"gold": right + missed, "predicted": right + wrong, "right": right}
        metrics: tuple[Literal["f1", "recall", "precision"], ...] = ("f1", "recall", "precision")
        for metric in metrics:
            statistic = PooledF1(counts[place], metric)
            ends = interval(value_of(statistic), replicates(statistic, seed=seed, sample=sample))
            values = {part: rounded(value) for part, value in ends.fields.items()}
            found[name][metric] = values if np.isfinite(ends.value) else None
    return found


def per_label_of(
    runs: Sequence[Tallies], gold_labels: int, seed: int, task: str
) -> dict[str, dict[str, float | int | None]]:
    """Per label its metrics; of several seeds the counts are those of the first, F1 and its interval of all."""
    found: dict[str, dict[str, float | int | None]] = {}
    for index, label in enumerate(runs[0].labels):
        counts, loose = runs[0].exact[:, index], runs[0].overlap[:, index]
        every = [PooledF1(run.exact[:, index]) for run in runs]
        statistic: Statistic = every[0] if len(every) == 1 else OverSeeds(every, label)
        ends = interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"ner {task}"))
        right, wrong, missed = (int(total) for total in counts.sum(axis=0))
        found[label] = {
            "f1": rounded(ends.value if index < gold_labels else None),
            "low": rounded(ends.low if index < gold_labels else None),
            "high": rounded(ends.high if index < gold_labels else None),
            "precision": rounded(right / (right + wrong) if right + wrong else None),
            "recall": rounded(right / (right + missed) if right + missed else None),
            "f1_overlap": rounded(value_of(PooledF1(loose))),
            "gold": right + missed,
            "predicted": right + wrong,
        }
    return found
