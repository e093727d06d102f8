"""The labels of taggers: BIO tags as numbers, tags of any other scheme, and one label for all occurrences of a name.

O is 0, B of class c is 2 c + 1, I of class c is 2 c + 2. Words and spans go through `slonik.data.annotations`; which
label may follow which is in `slonik.runtime.tagging.chain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import OUTSIDE, Offsets, decode, encode, split_tag, tag_set


@dataclass(frozen=True)
class BioLabels:
    """The L = 1 + 2 C labels of C classes.

    Attributes:
        classes: names of the classes, sorted.
    """

    classes: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> BioLabels:
        """The labels of the classes in `names`, repeated ones taken once.

        Raises:
            SlonikError: there are none.
        """
        classes = tuple(sorted(set(names)))
        if not classes:
            raise SlonikError("the training texts hold no span at all: there is nothing to learn")
        return cls(classes)

    @classmethod
    def of_tags(cls, tags: Sequence[str]) -> BioLabels:
        """The labels whose `names` are `tags`.

        Raises:
            SlonikError: `tags` are not all BIO tags of some classes in their order.
        """
        labels = cls(tuple(tag[2:] for tag in tags if tag.startswith("B-")))
        if labels.names != tuple(tags):
            raise SlonikError(
                f"the tagger's labels are {', '.join(tags)}: they must be O, then B-X and I-X of each class"
            )
        return labels

    @cached_property
    def names(self) -> tuple[str, ...]:
        """("O", "B-X", "I-X", ...), L names."""
        return tuple(tag_set(self.classes))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def __len__(self) -> int:
        return 1 + 2 * len(self.classes)

    def encode(self, spans: Sequence[Span], words: Sequence[Offsets]) -> NDArray[np.int64]:
        """(W,) labels of words; `spans` are sorted and disjoint.

        Raises:
            SlonikError: a span's label is none of the classes.
        """
        unknown = sorted({span.label for span in spans} - set(self.classes))
        if unknown:
            raise SlonikError(
                f"the label {unknown[0]!r} is unknown to the model, which knows {', '.join(self.classes)}: "
                "map it to one of these or drop it (labels in the recipe)"
            )
        tags = encode(spans, words).tags
        return np.array([self._numbers[tag] for tag in tags], dtype=np.int64)

    def decode(
        self, tags: Iterable[int], words: Sequence[Offsets], confidences: Sequence[float] | None = None
    ) -> list[Span]:
        """Spans of labelled words; a span is as sure as its least sure word."""
        return decode([self.names[tag] for tag in tags], words, confidences)


@dataclass(frozen=True)
class PlainTags:
    """The L tags of a tagger that somebody else trained, in its own order: read as they come, under no rules.

    BIO, IOB1, BIOES and BILOU tags (before or behind the label, in capitals or not), or plain labels, of which equal
    neighbours make one span (as Transformers' pipelines read them).

    Attributes:
        names: of the tags.
    """

    names: tuple[str, ...]

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The L tags as `decode` reads them: plain labels as I- of themselves, tags of no word ([PAD], X) as O.

        Raises:
            SlonikError: a tag without a name.
        """
        if any(not name.strip() for name in self.names):
            raise SlonikError(f"one of the tags {list(self.names)} has no name: name it in id2label of config.json")
        parts = [_parts(name) for name in self.names]
        seen = {(label, mark) for mark, label in filter(None, parts)}
        both = any((label, "I") in seen for label, mark in seen if mark != "I")
        plain = [name for name in self.names if name.upper() not in _NO_ENTITY]
        if not both and not all(name[1:2] in ("-", "_") and _parts(name) for name in plain):
            return tuple(OUTSIDE if name == self._outside else f"I-{name}" for name in self.names)
        return tuple(
            OUTSIDE if name == self._outside or name.upper() in _NO_WORD or name.startswith("[")
            else f"{part[0]}-{part[1]}" if part else f"I-{name}"
            for name, part in zip(self.names, parts, strict=True)
        )  # fmt: skip

    @cached_property
    def _outside(self) -> str | None:
        """The tag of words that are no entity: O, else the only one that is called like it."""
        called = [name for name in self.names if name.upper() in _NO_ENTITY]
        return OUTSIDE if OUTSIDE in self.names else called[0] if len(called) == 1 else None

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({split_tag(tag)[1] for tag in self.tags if tag != OUTSIDE}))

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, spans: Sequence[Span], words: Sequence[Offsets]) -> NDArray[np.int64]:
        """Such a tagger is not trained here.

        Raises:
            SlonikError: always.
        """
        raise SlonikError("a tagger with tags of its own (task.json names no rules) is not trained further: train anew")

    def decode(
        self, tags: Iterable[int], words: Sequence[Offsets], confidences: Sequence[float] | None = None
    ) -> list[Span]:
        """Spans of tagged words; a span is as sure as its least sure word."""
        return decode([self.tags[tag] for tag in tags], words, confidences)


_NO_ENTITY = frozenset({"O", "0", "OUT", "OUTSIDE", "NONE", "OTHER", "NULL", "_"})
_NO_WORD = frozenset({"X", "PAD", "<PAD>"})  # what some give to pieces behind the first of a word, and to padding


def _parts(name: str) -> tuple[str, str] | None:
    """("B", "PER") of "B-PER", "b-PER" and "PER-B"; None of what is no such tag."""
    for mark, label in ((name[:1].upper() + name[1:2], name[2:]), (name[-1:].upper() + name[-2:-1], name[:-2])):
        if mark[:1] in "BIESLU" and mark[1:] in ("-", "_") and label:
            return mark[0], label
    return None


TagLabels: TypeAlias = BioLabels | PlainTags


def tag_labels(names: Sequence[str], *, rules: bool) -> TagLabels:
    """The labels of a tagger whose outputs are `names`.

    Args:
        rules: whether they are BIO tags in our order, read under the BIO rules.

    Raises:
        SlonikError: they are not.
    """
    return BioLabels.of_tags(names) if rules else PlainTags(tuple(names))


def one_label(text: str, spans: Sequence[Span], probabilities: Sequence[Mapping[str, float]]) -> list[Span]:
    """The spans with the label that all occurrences of their words make likeliest: each votes with its probabilities.

    A CRF sees a sentence at a time and may call a name a program here and a company there; within one text a name
    nearly always means one thing ("one sense per discourse", Gale, Church, Yarowsky 1992). Borders are not touched.

    Args:
        probabilities: label -> probability, one mapping per span.

    Returns:
        The spans in their order; confidence is the mean probability of the label over the occurrences.
    """
    places: dict[str, list[int]] = {}
    for index, span in enumerate(spans):
        places.setdefault(text[span.start : span.end], []).append(index)
    found = list(spans)
    for group in places.values():
        totals: dict[str, float] = {}
        for index in group:
            for label, probability in probabilities[index].items():
                totals[label] = totals.get(label, 0.0) + probability
        best = max(totals, key=lambda label: (totals[label], label))
        for index in group:
            found[index] = Span(spans[index].start, spans[index].end, best, totals[best] / len(group))
    return found
