"""Predicted spans against gold ones: what is right, what kind of mistake the rest is, and the counts of both.

Right is only a span with the same start, end and label. What is left on both sides is paired by overlap, each span
once, the longest shared stretch first: a pair with one label has a wrong border, one with equal borders a wrong type,
any other both. What stays alone is missed (gold) or invented (predicted). From the counts per document and label
(`Tallies`) every metric and every resample of it is computed.

Shapes: D documents, L labels, 3 counts: right, wrong (false positives), missed (false negatives).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slonik.data.annotations.document import Document, Span
from slonik.evaluation.statistics import Array
from slonik.runtime.tagging.calibration import BINS

Kind: TypeAlias = Literal["missed", "invented", "border", "type", "border and type"]
KINDS: tuple[Kind, ...] = ("missed", "invented", "border", "type", "border and type")
_AROUND = 70  # characters of context on each side
_ALONE = "nothing"


@dataclass(frozen=True)
class Mistake:
    """One error: at least one of the two spans is there."""

    kind: Kind
    gold: Span | None
    predicted: Span | None


@dataclass(frozen=True)
class Comparison:
    """One document.

    Attributes:
        right: predicted spans that equal a gold one.
        mistakes: everything else, in the order of the text.
    """

    right: tuple[Span, ...]
    mistakes: tuple[Mistake, ...]


def compare_spans(gold: Iterable[Span], predicted: Iterable[Span]) -> Comparison:
    """Match predicted spans to gold ones; equal spans count once."""
    wanted, given = set(gold), set(predicted)
    right = wanted & given
    kept = tuple(sorted(span for span in given if span in right))
    left, wrong = sorted(wanted - right), sorted(given - right)
    pairs = sorted(
        (-_shared(one, other), one.label != other.label, one, other) for one, other in _overlapping(left, wrong)
    )
    free_gold, free_given = set(left), set(wrong)
    mistakes = []
    for _, _, one, other in pairs:
        if one in free_gold and other in free_given:
            free_gold.remove(one)
            free_given.remove(other)
            mistakes.append(Mistake(_kind(one, other), one, other))
    mistakes += [Mistake("missed", span, None) for span in free_gold]
    mistakes += [Mistake("invented", None, span) for span in free_given]
    return Comparison(kept, tuple(sorted(mistakes, key=_place)))


def _overlapping(left: list[Span], right: list[Span]) -> Iterable[tuple[Span, Span]]:
    """Pairs that share a character; both lists sorted by start."""
    longest = max((span.end - span.start for span in right), default=0)
    first = 0
    for one in left:
        while first < len(right) and right[first].start + longest <= one.start:
            first += 1
        for index in range(first, len(right)):
            if right[index].start >= one.end:
                break
            if one.overlaps(right[index]):
                yield one, right[index]


def _shared(one: Span, other: Span) -> int:
    return min(one.end, other.end) - max(one.start, other.start)


def _kind(gold: Span, predicted: Span) -> Kind:
    if gold.label == predicted.label:
        return "border"
    return "type" if (gold.start, gold.end) == (predicted.start, predicted.end) else "border and type"


def _place(mistake: Mistake) -> tuple[int, int]:
    span = mistake.gold or mistake.predicted
    assert span is not None
    return span.start, span.end


def error_rows(documents: Sequence[Document], comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """One object per mistake: kind, document, labels, and a stretch of text with the places of both spans in it."""
    return [
        _row(document, mistake)
        for document, comparison in zip(documents, comparisons, strict=True)
        for mistake in comparison.mistakes
    ]


def _row(document: Document, mistake: Mistake) -> dict[str, Any]:
    spans = [span for span in (mistake.gold, mistake.predicted) if span is not None]
    first = max(0, min(span.start for span in spans) - _AROUND)
    after = min(len(document.text), max(span.end for span in spans) + _AROUND)
    return {
        "kind": mistake.kind,
        "document": document.id,
        "context": document.text[first:after],
        "gold": _shifted(mistake.gold, first),
        "predicted": _shifted(mistake.predicted, first),
        "cut": [first > 0, after < len(document.text)],
    }


def _shifted(span: Span | None, first: int) -> dict[str, Any] | None:
    if span is None:
        return None
    found: dict[str, Any] = {"start": span.start - first, "end": span.end - first, "label": span.label}
    if span.confidence is not None:
        found["confidence"] = round(span.confidence, 3)
    return found


def error_counts(comparisons: Sequence[Comparison]) -> dict[str, int]:
    """Mistakes of each kind; kinds that do not occur are 0."""
    found = Counter(mistake.kind for comparison in comparisons for mistake in comparison.mistakes)
    return {kind: found[kind] for kind in KINDS}


def confusion(comparisons: Sequence[Comparison]) -> dict[str, dict[str, int]]:
    """Gold label -> predicted label -> spans that overlap; "nothing" for missed gold and for invented spans."""
    found: dict[str, Counter[str]] = {}
    for comparison in comparisons:
        for span in comparison.right:
            found.setdefault(span.label, Counter())[span.label] += 1
        for mistake in comparison.mistakes:
            gold = mistake.gold.label if mistake.gold else _ALONE
            predicted = mistake.predicted.label if mistake.predicted else _ALONE
            found.setdefault(gold, Counter())[predicted] += 1
    return {gold: dict(sorted(row.items())) for gold, row in sorted(found.items())}


@dataclass(frozen=True)
class Tallies:
    """Counts of one system.

    Attributes:
        labels: L names, sorted.
        exact: (D, L, 3) by equal spans.
        overlap: (D, L, 3) where a wrong border with the right label counts as right.
    """

    labels: tuple[str, ...]
    exact: NDArray[np.int64]
    overlap: NDArray[np.int64]

    def of(self, documents: Sequence[int]) -> Tallies:
        rows = list(documents)
        return Tallies(self.labels, self.exact[rows], self.overlap[rows])


def tally(comparisons: Sequence[Comparison], labels: Sequence[str]) -> Tallies:
    """Count the comparisons of documents over `labels`, which must hold every label that occurs."""
    place = {label: index for index, label in enumerate(labels)}
    exact = np.zeros((len(comparisons), len(labels), 3), dtype=np.int64)
    overlap = np.zeros_like(exact)
    for row, comparison in enumerate(comparisons):
        for span in comparison.right:
            exact[row, place[span.label], 0] += 1
            overlap[row, place[span.label], 0] += 1
        for mistake in comparison.mistakes:
            if mistake.kind == "border" and mistake.gold is not None:
                overlap[row, place[mistake.gold.label], 0] += 1
            for side, count in ((mistake.predicted, 1), (mistake.gold, 2)):
                if side is not None:
                    exact[row, place[side.label], count] += 1
                    overlap[row, place[side.label], count] += mistake.kind != "border"
    return Tallies(tuple(labels), exact, overlap)


class DocumentF1:
    """Mean over documents of their own F1, those without a gold and a predicted span left out: a `Statistic`.

    Args:
        counts: (D, 3) right, wrong, missed.
    """

    def __init__(self, counts: NDArray[np.int64]) -> None:
        right, wrong, missed = counts.astype(np.float64).T
        below = 2 * right + wrong + missed
        self.values = np.divide(2 * right, below, out=np.full(len(counts), np.nan), where=below > 0)
        self.n = len(counts)

    def resampled(self, counts: Array) -> Array:
        """Values (B,); NaN where no document drawn has a span."""
        told = np.isfinite(self.values)
        drawn = counts[:, told].sum(axis=1)
        above = counts[:, told] @ self.values[told]
        return np.divide(above, drawn, out=np.full(len(counts), np.nan), where=drawn > 0)


class CalibrationError:
    """Expected calibration error of predicted spans (`calibration.calibration_error`), resampled by document.

    Args:
        confidences, right: of the spans of each document.
    """

    def __init__(self, confidences: Sequence[Sequence[float]], right: Sequence[Sequence[bool]]) -> None:
        self.n = len(confidences)
        self.sums = np.zeros((self.n, 3, BINS))  # spans, sum of confidences, right ones
        for row, (sure, hits) in enumerate(zip(confidences, right, strict=True)):
            places = np.minimum((np.asarray(sure, dtype=np.float64) * BINS).astype(np.int64), BINS - 1)
            for part, weights in enumerate((None, sure, np.asarray(hits, dtype=np.float64))):
                self.sums[row, part] = np.bincount(places, weights, BINS)

    def resampled(self, counts: Array) -> Array:
        """Values (B,); NaN where no span is predicted."""
        spans, sure, right = np.moveaxis(np.tensordot(counts, self.sums, axes=1), 1, 0)
        total = spans.sum(axis=1)
        return np.divide(np.abs(sure - right).sum(axis=1), total, out=np.full(len(counts), np.nan), where=total > 0)

    def bins(self) -> list[dict[str, float | int]]:
        """Of each bin that holds spans: its lower end, how many, mean confidence, share of right ones."""
        spans, sure, right = self.sums.sum(axis=0)
        return [
            {
                "from": place / BINS, "spans": int(spans[place]), "confidence": round(sure[place] / spans[place], 4),
                "right": round(right[place] / spans[place], 4),
            }
            for place in range(BINS)
            if spans[place]
        ]  # fmt: skip


class PooledF1:
    """F1, precision or recall of counts pooled over documents (and labels): a `Statistic`, resampled by document.

    Args:
        counts: (D, 3).
        metric: which of the three: f1, precision or recall.
    """

    def __init__(self, counts: NDArray[np.int64], metric: Literal["f1", "precision", "recall"] = "f1") -> None:
        self._counts = counts.astype(np.float64)
        self._metric = metric
        self.n = len(counts)

    def resampled(self, counts: Array) -> Array:
        """Values (B,); 0 where nothing is right, NaN where there is neither a gold nor a predicted span."""
        right, wrong, missed = (counts @ self._counts).T
        above, below = {
            "f1": (2 * right, 2 * right + wrong + missed),
            "precision": (right, right + wrong),
            "recall": (right, right + missed),
        }[self._metric]
        nothing = np.where(right + wrong + missed > 0, 0.0, np.nan)
        return np.divide(above, below, out=nothing, where=below > 0)


def known_spans(document: Document, spans: Iterable[Span]) -> list[Span]:
    """Predicted spans that the annotation can judge: not those in stretches that nobody annotated, on no gold span."""
    if not document.unknown:
        return list(spans)
    return [
        span
        for span in spans
        if not any(span.start < end and start < span.end for start, end in document.unknown)
        or any(span.overlaps(gold) for gold in document.spans)
    ]


def exact_f1(gold: Sequence[Document], predicted: Sequence[Sequence[Span]]) -> float:
    """Micro F1 of exactly equal (start, end, label); 0 where there is nothing right."""
    right = wanted = given = 0
    for document, spans in zip(gold, predicted, strict=True):
        truth = {(span.start, span.end, span.label) for span in document.spans}
        said = {(span.start, span.end, span.label) for span in known_spans(document, spans)}
        right, wanted, given = right + len(truth & said), wanted + len(truth), given + len(said)
    return 2 * right / (wanted + given) if wanted + given else 0.0
