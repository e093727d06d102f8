"""Numbers of BIO labels, their rules, spans there and back; one label per name of a text."""

from __future__ import annotations

import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import tokenize
from slonik.models.heads.crf import allowed_first, allowed_steps
from slonik.runtime.tagging.labels import BioLabels, one_label

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


TEXT = "Gozi вновь. О Gozi пишут, Gozi! А Тула молчит."


def _at(place: int, words: str, label: str) -> Span:
    return Span(place, place + len(words), label)


def test_occurrences_vote_with_their_probabilities() -> None:
    places = [TEXT.index("Gozi"), TEXT.index("Gozi", 5), TEXT.rindex("Gozi")]
    spans = [_at(places[0], "Gozi", "ORG"), _at(places[1], "Gozi", "ORG"), _at(places[2], "Gozi", "VIRUS")]
    spans.append(_at(TEXT.index("Тула"), "Тула", "LOC"))
    chances = [{"ORG": 0.5, "VIRUS": 0.4}, {"ORG": 0.5, "VIRUS": 0.45}, {"ORG": 0.05, "VIRUS": 0.9}, {"LOC": 0.7}]
    found = one_label(TEXT, spans, chances)
    assert [span.label for span in found] == ["VIRUS", "VIRUS", "VIRUS", "LOC"]
    assert [(span.start, span.end) for span in found] == [(span.start, span.end) for span in spans]
    assert found[0].confidence == pytest.approx((0.4 + 0.45 + 0.9) / 3) and found[3].confidence == 0.7


def test_other_words_have_no_vote() -> None:
    text = "Gozi и gozi"
    found = one_label(text, [_at(0, "Gozi", "ORG"), _at(7, "gozi", "VIRUS")], [{"ORG": 0.6}, {"VIRUS": 0.9}])
    assert [span.label for span in found] == ["ORG", "VIRUS"]
    assert one_label("", [], []) == []
