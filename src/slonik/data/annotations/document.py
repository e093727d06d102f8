"""A text with labelled spans, and what a tagger is to the code that measures, runs or serves it.

Offsets count Unicode code points of the text exactly as it stands in its file (line ends included), `end` excluded,
so that `text[span.start:span.end]` is the annotated string. Reading, checking and writing are elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled stretch of a text.

    Attributes:
        start, end: code points, `0 <= start < end <= len(text)`.
        label: the entity type, without B- or I-.
        confidence: probability in [0, 1] that the tagger gives to it; None for annotations by people.
    """

    start: int
    end: int
    label: str
    confidence: float | None = field(default=None, compare=False)

    def overlaps(self, other: Span) -> bool:
        """Whether the two share a character."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Document:
    """A text and its spans.

    Attributes:
        id: unique in its collection; for BRAT the file name without ending.
        text: the text, code point for code point as in its file.
        spans: sorted by start, then end, then label; they may overlap.
        annotations: the lines of its BRAT .ann file (without line ends), which hold more than spans can (fragments,
            relations, events, notes); empty when the document does not come from BRAT.
        tokens: (start, end) of its words, where the source divides it (CoNLL, Hugging Face); empty otherwise.
    """

    id: str
    text: str
    spans: tuple[Span, ...] = ()
    annotations: tuple[str, ...] = ()
    tokens: tuple[tuple[int, int], ...] = ()


@runtime_checkable
class Tagger(Protocol):
    """Texts to spans: a CRF over features, a BiLSTM, an encoder with a head. It never learns how it is scored.

    Attributes:
        name: what its records are filed under.
        labels: the entity types it can give, sorted.
    """

    name: str
    labels: tuple[str, ...]

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text, in order, sorted and without overlaps; `confidence` is set. "" gives []."""
        ...

    def describe(self) -> dict[str, Any]:
        """Facts: `kind`, `parameters` (numbers learned), `bytes` on disk, and what else is worth a table's column."""
        ...
