"""Tokens and tags: offsets are exact whatever the characters, and spans come back as they were."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import POLICIES, Span, flatten
from slonik.data.annotations.tags import SCHEMES, cut_at, decode, encode, tag_set, tokenize, tokens_of
from tests.data.annotations.samples import AWKWARD

ALPHABET = "абвяЁё zZq79.,-–«»\"'\r\n\t\u00a0\u0301\u00ad\u200d🔒👍🏽🇷🇺語ש\ufeff"


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in tokenize(text)]


def test_awkward_text_is_divided_where_a_reader_would() -> None:
    found = words(AWKWARD)
    for word in (
        "«",
        "Касперского",
        "🔒",
        "Turla",
        "атакова\u0301ла",
        "„",
        "Заря",
        "🇷🇺",
        "7",
        "Microsoft",
        "-",
        "роутеры",
    ):
        assert word in found
    assert "".join(found) == "".join(AWKWARD.split())


def test_joined_emoji_and_glued_alphabets() -> None:
    assert words("👨‍👩‍👧 ОК👍🏽") == ["👨‍👩‍👧", "ОК", "👍🏽"]
    assert words("DLPсистема Wordом Win32 MS08") == ["DLP", "система", "Word", "ом", "Win32", "MS08"]


@given(st.text(alphabet=ALPHABET, max_size=60))
def test_tokens_are_disjoint_and_only_white_space_is_between_them(text: str) -> None:
    place = 0
    for start, end in tokenize(text):
        assert place <= start < end <= len(text)
        assert text[place:start].strip("\ufeff\u200b \t\r\n\u00a0") == ""
        place = end
    assert text[place:].strip("\ufeff\u200b \t\r\n\u00a0") == ""


def disjoint_spans(borders: list[int], labels: list[str]) -> list[Span]:
    places = sorted(set(borders))
    pairs = list(zip(places[::2], places[1::2], strict=False))
    return [Span(start, end, label) for (start, end), label in zip(pairs, labels, strict=False)]


@given(
    st.lists(st.integers(0, 40), max_size=14),
    st.lists(st.sampled_from(["ORG", "PER"]), min_size=7, max_size=7),
    st.sampled_from(SCHEMES),
)
def test_spans_survive_tags_when_tokens_are_cut_at_their_borders(
    borders: list[int], labels: list[str], scheme: str
) -> None:
    spans = disjoint_spans(borders, labels)
    offsets = cut_at([(0, 13), (13, 14), (14, 40)], {place for span in spans for place in (span.start, span.end)})
    tagged = encode(spans, offsets, scheme)  # type: ignore[arg-type]
    assert (tagged.moved, tagged.lost) == (0, 0)
    assert set(tagged.tags) <= set(tag_set(["ORG", "PER"], scheme))  # type: ignore[arg-type]
    assert decode(tagged.tags, offsets) == spans


@given(
    st.lists(st.integers(0, 30), min_size=2, unique=True).map(sorted),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=6).map(sorted),
)
def test_the_tokens_of_a_span_are_those_that_share_a_character_with_it(
    borders: list[int], places: list[tuple[int, int]]
) -> None:
    offsets = list(zip(borders[::2], borders[1::2], strict=False))
    first = 0
    for start, length in places:
        found = tokens_of(Span(start, start + length, "A"), offsets, first)
        shared = [i for i, (left, right) in enumerate(offsets) if left < start + length and right > start]
        assert list(found) == shared
        first = found.start


def test_a_span_that_ends_inside_a_token_takes_all_of_it_and_is_counted() -> None:
    tagged = encode([Span(2, 5, "ORG"), Span(5, 7, "PER"), Span(8, 9, "LOC")], [(0, 3), (4, 7)])
    assert tagged.tags == ["B-ORG", "I-ORG"]
    assert (tagged.moved, tagged.lost) == (1, 2)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O I-A I-A O", [(1, 3, "A")]),
        ("B-A I-B I-B O", [(0, 1, "A"), (1, 3, "B")]),
        ("B-A B-A I-A O", [(0, 1, "A"), (1, 3, "A")]),
        ("S-A B-A E-A O", [(0, 1, "A"), (1, 3, "A")]),
        ("U-A B-A L-A S-B", [(0, 1, "A"), (1, 3, "A"), (3, 4, "B")]),
        ("B-A E-A I-A O", [(0, 2, "A"), (2, 3, "A")]),
    ],
)
def test_decoding_is_lenient_as_conlleval_is(tags: str, expected: list[tuple[int, int, str]]) -> None:
    offsets = [(index, index + 1) for index in range(4)]
    assert [(span.start, span.end, span.label) for span in decode(tags.split(), offsets)] == expected


def test_confidence_is_that_of_the_least_sure_token() -> None:
    spans = decode(["B-A", "I-A", "B-A"], [(0, 1), (1, 2), (2, 3)], [0.9, 0.4, 0.7])
    assert [span.confidence for span in spans] == [0.4, 0.7]


def test_what_is_no_tag_is_refused() -> None:
    with pytest.raises(SlonikError, match="is not a tag"):
        decode(["X-ORG"], [(0, 1)])


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=12), st.sampled_from(POLICIES))
def test_flat_spans_are_disjoint_and_none_could_be_added(places: list[tuple[int, int]], policy: str) -> None:
    spans = [Span(start, start + length, "A") for start, length in places]
    flat = flatten(spans, policy)  # type: ignore[arg-type]
    assert list(flat) == sorted(flat)
    assert all(one.end <= other.start for one, other in itertools.pairwise(flat))
    assert all(any(span.overlaps(kept) for kept in flat) for span in spans)


def test_each_policy_keeps_whom_it_names() -> None:
    outer, inner, late = Span(0, 10, "ORG"), Span(5, 8, "LOC"), Span(7, 12, "PER")
    assert flatten([inner, outer], "longest") == (outer,)
    assert flatten([inner, outer], "shortest") == (inner,)
    assert flatten([late, outer], "first") == (outer,)
