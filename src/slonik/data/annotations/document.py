"""A text with labelled spans, and what a tagger is to the code that measures, runs or serves it.

Offsets count Unicode code points of the text exactly as it stands in its file (line ends included), `end` excluded,
so that `text[span.start:span.end]` is the annotated string. Spans are made flat by a policy, and labels merged and
dropped as a recipe says, before training and before scoring alike. Reading, checking and writing are elsewhere.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic import Field, model_validator

from slonik.core.config import Config, build_config, read_recipe
from slonik.core.errors import SlonikError

Policy: TypeAlias = Literal["longest", "shortest", "first"]
POLICIES: tuple[Policy, ...] = ("longest", "shortest", "first")
#: What was left out or changed on the way, as words -> how often.
Counts = Counter[str]

_REFERENCE = re.compile(r"(?<![\w#*])([TREAMN#]\d+)(?!\w)")


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
        unknown: (start, end) of stretches that nobody has annotated, sorted and disjoint: what is not marked there may
            be an entity or none. Empty for a text that was annotated whole.
    """

    id: str
    text: str
    spans: tuple[Span, ...] = ()
    annotations: tuple[str, ...] = ()
    tokens: tuple[tuple[int, int], ...] = ()
    unknown: tuple[tuple[int, int], ...] = ()


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


def flatten(spans: Iterable[Span], policy: Policy = "longest") -> tuple[Span, ...]:
    """The spans that stay when no two may share a character, sorted.

    Args:
        policy: whom a conflict is decided for: the longer span (the outer name of "Bank [of] Moscow"), the shorter
            one, or the one that begins first. Ties go to the earlier, then to the label that sorts first.
    """
    keys = {
        "longest": lambda span: (span.start - span.end, span.start, span.label),
        "shortest": lambda span: (span.end - span.start, span.start, span.label),
        "first": lambda span: (span.start, span.start - span.end, span.label),
    }
    kept: list[Span] = []
    for span in sorted(spans, key=keys[policy]):
        place = bisect_left(kept, span)
        before = kept[place - 1] if place else None
        after = kept[place] if place < len(kept) else None
        if not (before and before.overlaps(span)) and not (after and after.overlaps(span)):
            kept.insert(place, span)
    return tuple(kept)


def lying_within(spans: Sequence[Span]) -> list[bool]:
    """Of each span whether another one covers it and more; of equal borders neither does."""
    ordered = sorted(range(len(spans)), key=lambda place: (spans[place].start, -spans[place].end))
    found = [False] * len(spans)
    furthest, widest = -1, (-1, -1)
    for place in ordered:
        own = (spans[place].start, spans[place].end)
        found[place] = own[1] <= furthest and own != widest
        if own[1] > furthest:
            furthest, widest = own[1], own
    return found


class LabelMapping(Config):
    """How labels and overlaps of a collection are made fit for taggers.

    Attributes:
        merge: label -> the label it becomes, e.g. {"HACKER_GROUP": "HACKER"}.
        drop: labels whose spans are left out, e.g. ["ARTEFACT", "MEDIA"].
        overlaps: which of two overlapping spans stays, where one must go.
    """

    merge: dict[str, str] = Field(default_factory=dict)
    drop: tuple[str, ...] = ()
    overlaps: Policy = "longest"

    @model_validator(mode="after")
    def _no_label_twice(self) -> LabelMapping:
        both = sorted(set(self.merge) & set(self.drop))
        if both:
            raise ValueError(f"{', '.join(both)}: merged and dropped at the same time; leave one out")
        for label, target in self.merge.items():
            if not target.strip() or any(sign in "\t\r\n" for sign in target):
                raise ValueError(f"{label} becomes {target!r}, which is no label")
            if target != label and (target in self.drop or self.merge.get(target, target) != target):
                further = "is dropped" if target in self.drop else f"becomes {self.merge[target]}"
                raise ValueError(
                    f"{label} becomes {target}, which {further} itself: say what becomes of {label} in the end"
                )
        return self

    def unmet(self, labels: Collection[str]) -> list[str]:
        """Labels that it merges or drops and that are not among `labels`, sorted."""
        return sorted({*self.merge, *self.drop} - set(labels))

    def count_unmet(self, labels: Collection[str], counts: Counts) -> None:
        """Count the labels that it names and that are not among `labels`."""
        if missing := self.unmet(labels):
            counts[f"labels that the mapping names and no text has: {', '.join(missing)}"] = len(missing)

    def label(self, label: str) -> str | None:
        """What `label` becomes; None when its spans are dropped."""
        return None if label in self.drop else self.merge.get(label, label)

    def apply(self, documents: Iterable[Document], counts: Counts) -> Iterator[Document]:
        """Documents with mapped labels, in order; `counts` grows by what was renamed and dropped."""
        for document in documents:
            spans = []
            for span in document.spans:
                label = self.label(span.label)
                if label is None:
                    counts[f"spans of {span.label} dropped by the mapping"] += 1
                    continue
                if label != span.label:
                    counts[f"spans of {span.label} counted as {label}"] += 1
                spans.append(Span(span.start, span.end, label, span.confidence))
            lines = self._map_lines(document.annotations, counts)
            yield replace(document, spans=tuple(sorted(spans)), annotations=lines)

    def _map_lines(self, lines: tuple[str, ...], counts: Counts) -> tuple[str, ...]:
        """The .ann lines relabelled; a line that refers to a dropped one goes too, and what refers to that."""
        gone: set[str] = set()
        kept: list[str] = []
        for line in lines:
            name, tab, rest = line.partition("\t")
            if not name.startswith("T") or not tab:
                kept.append(line)
                continue
            label, space, tail = rest.partition(" ")
            wanted = self.label(label)
            if wanted is None:
                gone.add(name)
            else:
                kept.append(f"{name}\t{wanted}{space}{tail}")
        while gone:
            staying = [line for line in kept if not _refers(line, gone)]
            if len(staying) == len(kept):
                break
            counts["relations, events, attributes and notes on dropped spans left out"] += len(kept) - len(staying)
            left = {line.partition("\t")[0] for line in kept} - {line.partition("\t")[0] for line in staying}
            kept, gone = staying, gone | left
        return tuple(kept)


def _refers(line: str, names: set[str]) -> bool:
    """Whether a line that is no text-bound annotation names one of `names` (its free text aside)."""
    if line.startswith("T"):
        return False
    parts = line.split("\t")
    return len(parts) > 1 and any(name in names for name in _REFERENCE.findall(parts[1]))


def noting_labels(documents: Iterable[Document], labels: set[str]) -> Iterator[Document]:
    """The same documents; `labels` grows by theirs."""
    for document in documents:
        labels.update(span.label for span in document.spans)
        yield document


def read_mapping(path: str | Path | None) -> LabelMapping:
    """The mapping of a recipe: its field `mapping`, or the whole file; without a file nothing is changed.

    Raises:
        SlonikError: no such file, a wrong field, or a mapping that has no fields.
    """
    if path is None:
        return LabelMapping()
    content = read_recipe(path)
    section = content.get("mapping", content)
    if not isinstance(section, dict | None):
        raise SlonikError(f"the recipe {path}: mapping is {section!r:.60}; it has the fields merge, drop and overlaps")
    return build_config(LabelMapping, section or {}, source=f"the recipe {path}")
