"""Names with both halves of their quotation marks and brackets."""

from __future__ import annotations

import pytest

from slonik.data.annotations.document import Span
from slonik.runtime.tagging.borders import balanced

TEXT = 'ООО «Рога и копыта» (Тула), газета "Труд" и (с) «два» «три'


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("ООО «Рога и копыта", "ООО «Рога и копыта»"),
        ("Рога и копыта»", "«Рога и копыта»"),
        ("Тула)", "(Тула)"),
        ('"Труд', '"Труд"'),
        ('Труд"', '"Труд"'),
        ("«три", "три"),  # the other half is nowhere
        ("«два» «три", "«два» «три"),  # it stands inside: nobody knows what was meant
        ("Рога и копыта", "Рога и копыта"),
    ],
)
def test_a_missing_half_is_taken_in_or_the_odd_one_left_out(words: str, wanted: str) -> None:
    start = TEXT.find(words)
    found = balanced(TEXT, [Span(start, start + len(words), "ORG", 0.5)])[0]
    assert TEXT[found.start : found.end] == wanted
    assert found.label == "ORG" and found.confidence == 0.5


def test_neighbours_are_not_run_into() -> None:
    text = "«А»Б»"
    spans = [Span(0, 2, "X"), Span(2, 4, "Y")]
    found = balanced(text, spans)
    assert found[0].end <= found[1].start
