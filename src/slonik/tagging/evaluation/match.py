"""Compare the spans of one document with the gold ones: what is right, and what kind of mistake the rest is.

Right is only a span with the same start, end and label. What is left on both sides is paired by overlap, each span
once, the longest shared stretch first: a pair with one label has a wrong border, one with equal borders a wrong type,
any other both. What stays alone is missed (gold) or invented (predicted).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from slonik.data.annotations.document import Span

Kind: TypeAlias = Literal["missed", "invented", "border", "type", "border and type"]
KINDS: tuple[Kind, ...] = ("missed", "invented", "border", "type", "border and type")


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
