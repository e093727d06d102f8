"""One name, one label per text: by the sum of probabilities over its occurrences."""

from __future__ import annotations

import pytest

from slonik.data.annotations.document import Span
from slonik.tagging.models.one_label import one_label

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
