"""Near pairs: each English text gives one pair, copies differ by little, and nothing depends on the order of calls."""

from __future__ import annotations

from slonik.compression.pipeline.near_texts import altered_copy, twice_translated

_WORDS = ["дом", "река", "утром", "старый"]


def test_two_translations_of_one_sentence_are_a_pair() -> None:
    pairs = [
        ("Close the window", "Закрыть окно"),
        ("Open", "Открыть"),
        ("close the window!", "закрыть окно."),  # the same text to the eye of a reader
        ("Close the window", "Закройте окно"),
        ("Close the window", "Закрой окно"),  # the third translation adds nothing
    ]
    assert list(twice_translated(pairs)) == [("Закрыть окно", "Закройте окно")]


def test_a_copy_differs_by_one_or_two_words() -> None:
    texts = [f"старый слон номер {number} медленно пил воду из синей реки" for number in range(200)]
    copies = [altered_copy(text, _WORDS) for text in texts]
    assert all(copy != text for copy, text in zip(copies, texts, strict=True))
    for copy, text in zip(copies, texts, strict=True):
        assert copy is not None
        kept = set(copy.split()) & set(text.split())
        assert len(text.split()) - 2 <= len(kept) and abs(len(copy.split()) - len(text.split())) <= 2
    lengths = {len(copy.split()) - len(texts[0].split()) for copy in copies if copy is not None}
    assert {-1, 0, 1} <= lengths  # dropped, swapped or replaced, negated


def test_a_copy_depends_on_text_and_seed_alone() -> None:
    text = "слон пил воду из реки"
    assert altered_copy(text, _WORDS) == altered_copy(text, _WORDS)
    assert len({altered_copy(text, _WORDS, seed) for seed in range(20)}) > 5


def test_short_texts_have_no_copy() -> None:
    assert altered_copy("слон пил воду", _WORDS) is None
