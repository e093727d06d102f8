"""Neighbours, sums of words and the odd one out agree with gensim; sums are read as they are written."""

from __future__ import annotations

import numpy as np
import pytest
from gensim.models import KeyedVectors

from slonik.core.errors import SlonikError
from slonik.data.natasha_package import has_natasha
from slonik.models.word_vectors import WordVectors
from slonik.words.questions import nearest, odd_one_out, parse_sum, solve

WORDS = [f"слово{number}" for number in range(60)]


@pytest.fixture(scope="module")
def both() -> tuple[WordVectors, KeyedVectors]:
    rows = np.random.default_rng(3).standard_normal((60, 7)).astype(np.float32)
    theirs = KeyedVectors(7)
    theirs.add_vectors(WORDS, rows)
    return WordVectors("игрушка", tuple(WORDS), rows), theirs


def test_neighbours_are_gensims(both: tuple[WordVectors, KeyedVectors]) -> None:
    ours, theirs = both
    expected = theirs.most_similar("слово5", topn=60)
    found = nearest(ours, "слово5", 100)
    assert [each.word for each in found] == [word for word, _ in expected]
    np.testing.assert_allclose([each.score for each in found], [score for _, score in expected], atol=1e-5)


def test_sums_are_gensims_by_both_methods(both: tuple[WordVectors, KeyedVectors]) -> None:
    ours, theirs = both
    for text, plus, minus in (
        ("слово1 + (слово2 - слово3)", ["слово1", "слово2"], ["слово3"]),
        ("слово9 - (слово2 - слово3) - слово4", ["слово9", "слово3"], ["слово2", "слово4"]),
    ):
        terms = parse_sum(text)
        for method, expected in (
            ("add", theirs.most_similar(plus, minus, topn=5)),
            ("mul", theirs.most_similar_cosmul(plus, minus, topn=5)),
        ):
            found = solve(ours, terms, method=method, top=5)  # type: ignore[arg-type]
            assert [each.word for each in found] == [word for word, _ in expected]
            np.testing.assert_allclose([each.score for each in found], [score for _, score in expected], rtol=1e-3)


def test_the_odd_one_out_is_gensims(both: tuple[WordVectors, KeyedVectors]) -> None:
    ours, theirs = both
    for start in range(0, 40, 4):
        group = WORDS[start : start + 5]
        assert odd_one_out(ours, group)[0] == theirs.doesnt_match(group)


def test_words_of_the_question_are_no_answers_in_any_spelling() -> None:
    rows = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
    vectors = WordVectors("три", ("еж", "слон", "стол"), rows)
    assert [each.word for each in nearest(vectors, "Ёж")] == ["слон", "стол"]
    assert [each.word for each in solve(vectors, [("ёж", 1), ("стол", -1)])] == ["слон"]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("король + (женщина - мужчина)", "+король +женщина -мужчина"),
        ("король − мужчина + женщина", "+король -мужчина +женщина"),
        ("(женщина — мужчина) + король", "+женщина -мужчина +король"),
        ("а - (б - (в + г))", "+а -б +в +г"),
        ("кто-то + -что-то", None),
        ("-кто-то + что-то", "-кто-то +что-то"),
        ("король мужчина", None),
        ("король", None),
        ("", None),
        ("король + (мужчина", None),
        ("король + мужчина)", None),
        ("король ++ мужчина", None),
        ("король + () + мужчина", None),
        ("король +", None),
    ],
)
def test_sums_as_they_are_written(text: str, terms: str | None) -> None:
    if terms is None:
        with pytest.raises(SlonikError, match="write a sum of words"):
            parse_sum(text)
    else:
        assert " ".join(("+" if sign > 0 else "-") + word for word, sign in parse_sum(text)) == terms


def test_mistakes_are_sentences(both: tuple[WordVectors, KeyedVectors]) -> None:
    ours, _ = both
    with pytest.raises(SlonikError, match=r"no vector of the word 'слово99'.*слово0"):
        nearest(ours, "слово99")
    with pytest.raises(SlonikError, match="an empty word"):
        nearest(ours, " ")
    with pytest.raises(SlonikError, match="--top is 0"):
        nearest(ours, "слово1", 0)
    with pytest.raises(SlonikError, match="three different words"):
        odd_one_out(ours, ["слово1", "слово2"])
    silent = WordVectors("ноль", ("а", "б"), np.array([[0, 0], [1, 0]], np.float32))
    with pytest.raises(SlonikError, match="all zero"):
        nearest(silent, "а")


def test_king_and_woman_without_man_is_queen() -> None:
    if not has_natasha():
        pytest.skip("natasha is not installed")
    from slonik.words.opening import open_words

    navec = open_words("navec", limit=40_000)
    assert solve(navec, parse_sum("король + (женщина - мужчина)"))[0].word == "королева"
