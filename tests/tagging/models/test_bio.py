"""Numbers of BIO labels, their rules, and spans there and back."""

from __future__ import annotations

import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import tokenize
from slonik.models.heads.crf import allowed_first, allowed_steps
from slonik.tagging.models.bio import BioLabels

LABELS = BioLabels.of(["PER", "ORG", "PER"])


def test_labels_are_sorted_and_named() -> None:
    assert LABELS.names == ("O", "B-ORG", "I-ORG", "B-PER", "I-PER")
    assert BioLabels.of_tags(LABELS.names) == LABELS


def test_inside_follows_only_its_own_class() -> None:
    for row, before in enumerate(LABELS.names):
        for column, after in enumerate(LABELS.names):
            fits = not after.startswith("I-") or before[2:] == after[2:]
            assert allowed_steps(len(LABELS))[row, column] == fits, (before, after)
    assert [name for name, ok in zip(LABELS.names, allowed_first(5), strict=True) if not ok] == ["I-ORG", "I-PER"]


def test_spans_survive_words_and_numbers() -> None:
    text = "Пётр Иванов из «Ростелеком-Юг» нашёл дыру."
    spans = [Span(0, 11, "PER"), Span(16, 29, "ORG")]
    words = tokenize(text)
    assert LABELS.decode(LABELS.encode(spans, words), words) == spans
    assert text[16:29] == "Ростелеком-Юг"


def test_bad_labels_are_named() -> None:
    with pytest.raises(SlonikError, match="'LOC' is unknown"):
        LABELS.encode([Span(0, 4, "LOC")], [(0, 4)])
    with pytest.raises(SlonikError, match="no span at all"):
        BioLabels.of([])
    with pytest.raises(SlonikError, match="must be O"):
        BioLabels.of_tags(["O", "I-PER", "B-PER"])
