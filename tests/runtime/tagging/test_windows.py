"""Windows own every token once; segments are the whole text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slonik.runtime.tagging.windows import segments, shares


@settings(deadline=None, max_examples=60)
@given(length=st.integers(1, 200), size=st.integers(4, 40), overlap=st.integers(0, 3))
def test_every_token_has_one_owner_that_sees_it(length: int, size: int, overlap: int) -> None:
    found = shares(length, size, overlap)
    owned = [token for share in found for token in range(share.own_start, share.own_end)]
    assert owned == list(range(length))
    for share in found:
        assert share.start <= share.own_start and share.own_end <= share.end
        assert share.end - share.start <= size


def test_border_lies_in_the_middle_of_the_overlap() -> None:
    first, second = shares(30, 20, 10)
    assert (first.end, second.start) == (20, 10)
    assert first.own_end == second.own_start == 15


@pytest.mark.parametrize("longest", [5, 12, 1000])
def test_segments_are_the_text(longest: int) -> None:
    text = "Первое слово. Второе слово!\nТретья строка без знаков и ещёоднооченьдлинноеслово конец"
    cuts = list(segments(text, longest))
    assert "".join(text[start:end] for start, end in cuts) == text
    assert all(end - start <= longest for start, end in cuts)


def test_segments_prefer_line_ends_then_sentence_ends() -> None:
    text = "раз два. три\nчетыре пять шесть"
    assert text[: next(segments(text, 16))[1]] == "раз два. три\n"
    assert "раз два. три четыре"[: next(segments("раз два. три четыре", 12))[1]] == "раз два. "


def test_empty_text_is_one_empty_segment() -> None:
    assert list(segments("", 10)) == [(0, 0)]
