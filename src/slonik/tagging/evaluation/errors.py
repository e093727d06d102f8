"""Mistakes with the words around them, as plain objects for the error browser, and their counts by kind and label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from slonik.data.annotations.document import Document, Span
from slonik.tagging.evaluation.match import KINDS, Comparison, Mistake

_AROUND = 70  # characters of context on each side
_ALONE = "nothing"


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
