"""Rows of one and two texts against the tokenizer's own template; offsets, spans and cuts against the characters."""

from __future__ import annotations

import pytest

from slonik.text.pairs import PairTokenizer, TaskInput, TextSpan, pair_template
from tests import tiny

FIRST = "Кошка  спит на подоконнике, а собака её сторожит."
SECOND = "Собака охраняет кошку!"


@pytest.mark.parametrize("kind", tiny.TOKENIZER_KINDS)
def test_rows_are_what_the_tokenizer_makes_of_them(kind: str) -> None:
    raw = tiny.tokenizer(kind)
    pairs = PairTokenizer(raw, 500)
    both, one = raw.encode(FIRST, SECOND), raw.encode(FIRST)
    row = pairs.row((FIRST, SECOND))
    assert row.ids.tolist() == both.ids
    assert row.types.tolist() == both.type_ids
    assert row.segments.tolist() == [0 if owner is None else owner + 1 for owner in both.sequence_ids]
    assert pairs.row((FIRST,)).ids.tolist() == one.ids


@pytest.mark.parametrize("kind", tiny.TOKENIZER_KINDS)
def test_offsets_are_exact_and_without_spaces(kind: str) -> None:
    row = PairTokenizer(tiny.tokenizer(kind), 500).row((FIRST, SECOND))
    for part, text in ((1, FIRST), (2, SECOND)):
        covered = [False] * len(text)
        for (start, end), segment in zip(row.offsets.tolist(), row.segments.tolist(), strict=True):
            if segment == part and end > start:
                assert not text[start].isspace() and not text[end - 1].isspace()
                covered[start:end] = [True] * (end - start)
        assert all(covered[place] or text[place].isspace() for place in range(len(text)))


@pytest.mark.parametrize("kind", tiny.TOKENIZER_KINDS)
def test_tokens_of_a_span_cover_its_characters_and_no_other_word(kind: str) -> None:
    row = PairTokenizer(tiny.tokenizer(kind), 500).row((FIRST, SECOND))
    start = FIRST.index("собака")
    first, last = row.tokens_of(0, start, start + len("собака"))
    offsets = row.offsets[first:last]
    assert FIRST[offsets[:, 0].min() : offsets[:, 1].max()] == "собака"
    assert set(row.segments[first:last].tolist()) == {1}
    second = row.tokens_of(1, 0, len("Собака"))
    assert SECOND[row.offsets[second[0], 0] : row.offsets[second[1] - 1, 1]] == "Собака"
    assert row.tokens_of(0, 5, 6) == (0, 0)  # a space between words has no token


def test_the_longer_text_is_cut_first_and_nothing_exceeds_the_limit() -> None:
    raw = tiny.tokenizer("wordpiece")
    short, long = "Снег.", " ".join([FIRST] * 10)
    size = pair_template(raw).size
    for limit in (12, 20, 41):
        row = PairTokenizer(raw, limit).row((long, short))
        whole = len(raw.encode(short, add_special_tokens=False).ids)
        assert len(row.ids) == limit
        assert (row.segments == 2).sum() == min(whole, (limit - size) // 2)
    even = PairTokenizer(raw, 33).row((long, long))
    assert abs(int((even.segments == 1).sum()) - int((even.segments == 2).sum())) <= 1


def test_a_marked_word_survives_the_cut() -> None:
    text = " ".join([SECOND] * 12) + " Поезд ушёл. " + " ".join([SECOND] * 12)
    start = text.index("Поезд")
    pairs = PairTokenizer(tiny.tokenizer("unigram"), 24)
    span = TextSpan(0, 0, start, start + 5)
    row = pairs.row((text,), [span])
    assert len(row.ids) == 24
    first, last = row.tokens_of(0, span.start, span.end)
    assert text[row.offsets[first, 0] : row.offsets[last - 1, 1]] == "Поезд"
    assert pairs.row((text,)).tokens_of(0, span.start, span.end) == (0, 0)


def test_fields_of_several_rows_are_padded_and_point_into_their_row() -> None:
    pairs = PairTokenizer(tiny.tokenizer("unigram"), 64)
    at = SECOND.index("кошку")
    example = TaskInput(((FIRST,), (SECOND,)), (TextSpan(0, 0, 0, 5), TextSpan(1, 0, at, at + 5)))
    fields = pairs.fields(example)
    assert fields["input_ids"].shape == fields["segments"].shape == (2, fields["attention_mask"].sum(1).max())
    assert fields["candidates"].tolist() == [True, True]
    row, first, last = fields["spans"][1].tolist()
    assert row == 1
    assert pairs.row((SECOND,)).tokens_of(0, at, at + 5) == (first, last)
    assert set(fields["input_ids"][fields["attention_mask"] == 0].tolist()) <= {pairs.pad_id}


def test_a_broken_character_and_an_empty_text_still_make_a_row() -> None:
    pairs = PairTokenizer(tiny.tokenizer("unigram"), 16)
    assert len(pairs.row(("\ud800кот",)).ids) > 2
    assert len(pairs.row(("", "")).ids) == pair_template(tiny.tokenizer("unigram")).size
    with pytest.raises(ValueError, match="one text or two"):
        pairs.row(("а", "б", "в"))
