"""Cleaning, language and duplicates."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.data.deduplication import BloomSet, ExactFilter, NearFilter, bands_for
from slonik.data.documents import CorpusDocument
from slonik.data.filters import (
    CleaningConfig,
    DocumentCleaner,
    LanguageFilter,
    guard_language,
    normalise_text,
    reason_to_drop,
    script_share,
)

RUSSIAN = "Маленький слон идёт по большому лесу и радуется тёплому осеннему дню."


def test_normalised_texts_have_plain_spaces_and_no_invisible_characters() -> None:
    text = "\ufeffсло\u00adво\u00a0 и\u200b  ещё\tодно\r\n\r\n\x07 и\u0306 \x0bконец"
    assert normalise_text(text) == "слово и ещё одно\nй\nконец"
    assert normalise_text(" \n\t ") == ""


def test_verse_and_code_keep_their_white_space() -> None:
    text = "\ufeff\r\n  if слон:\r\n\tхобот  =  1\n\n\nконец \n"
    assert normalise_text(text, keep_whitespace=True) == "  if слон:\n\tхобот  =  1\n\n\nконец"
    cleaned, reason = DocumentCleaner(CleaningConfig(keep_whitespace=True)).clean(text)
    assert cleaned == normalise_text(text, keep_whitespace=True) and reason is None


@pytest.mark.parametrize(
    ("text", "rule", "reason"),
    [
        ("абв", {"min_characters": 4}, "short"),
        ("абвгд", {"max_characters": 4}, "long"),
        ("1 + 2 = 3 а", {"min_letter_share": 0.5}, "few_letters"),
        ("а\nа\nа\nб", {"max_repeated_lines": 0.3}, "repeated_lines"),
        ("слово " + "-" * 30, {"max_run_share": 0.5}, "runs"),
        ("обычный текст", {"min_letter_share": 0.5, "max_repeated_lines": 0.3, "max_run_share": 0.5}, None),
    ],
)
def test_each_rule_leaves_out_what_it_names(text: str, rule: dict[str, float], reason: str | None) -> None:
    assert reason_to_drop(text, CleaningConfig.model_validate(rule)) == reason


def test_script_tells_russian_from_english() -> None:
    assert script_share(RUSSIAN, "ru") == 1
    assert script_share("hello мир", "ru") == pytest.approx(3 / 8)
    assert script_share("123", "ru") == 1
    with pytest.raises(SlonikError, match="'xx' is not known"):
        script_share("a", "xx")


def test_a_corpus_in_another_language_is_refused_before_a_document_is_handed_out() -> None:
    documents = [CorpusDocument("This is an English sentence.", "a")] * 3
    with pytest.raises(SlonikError, match="only 0% of the corpus's letters"):
        guard_language(iter(documents), "ru")
    mixed = [*documents[:1], CorpusDocument(RUSSIAN, "a"), CorpusDocument(RUSSIAN, "a")]
    assert list(guard_language(iter(mixed), "ru")) == mixed


def test_language_filter_tells_russian_from_ukrainian() -> None:
    keeps = LanguageFilter(("ru",))
    assert keeps.allows(RUSSIAN + " " + RUSSIAN)
    ukrainian = "Маленький слон йде великим лісом і радіє теплому осінньому дню, бо він дуже щасливий."
    assert not keeps.allows(ukrainian + " Його друзі чекають на нього біля річки, щоб разом повечеряти.")
    assert not keeps.allows("A short English text.")
    assert keeps.allows("Так.")  # too short to say


def test_bloom_set_forgets_nothing_and_seldom_errs() -> None:
    marks = np.random.default_rng(0).integers(0, 2**63, size=6000).tolist()
    seen = BloomSet(capacity=1000)
    assert sum(seen.seen_then_add(mark) for mark in marks[:3000]) == 0
    assert all(seen.seen_then_add(mark) for mark in marks[:3000])
    assert sum(seen.seen_then_add(mark) for mark in marks[3000:]) <= 1
    assert seen.bytes == pytest.approx(len(seen) * 3.6, rel=0.05)


def test_equal_documents_are_found_whatever_their_case_and_punctuation() -> None:
    keeps = ExactFilter(100)
    assert [keeps.is_new(text) for text in ("Мама мыла раму.", "мама мыла раму", "Папа мыл раму")] == [
        True,
        False,
        True,
    ]


def _variant(text: str, changed: int, rng: np.random.Generator) -> str:
    words = text.split()
    for index in rng.choice(len(words), size=changed, replace=False):
        words[index] = f"слово{rng.integers(1000)}"
    return " ".join(words)


def test_near_documents_are_found_and_others_are_kept() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{rng.integers(5000)}" for _ in range(200)) for _ in range(60)]
    keeps = NearFilter(0.8, capacity=1000)
    assert all(keeps.is_new(text) for text in texts)
    near = [_variant(text, 1, rng) for text in texts]  # 5 of 196 shingles differ: Jaccard .95
    far = [_variant(text, 40, rng) for text in texts]  # Jaccard about .2
    assert sum(not keeps.is_new(text) for text in near) >= 57
    assert sum(keeps.is_new(text) for text in far) == 60


def test_bands_turn_at_the_threshold() -> None:
    for threshold in (0.5, 0.7, 0.8, 0.9):
        bands, rows = bands_for(threshold)
        assert bands * rows <= 128
        assert (1 / bands) ** (1 / rows) == pytest.approx(threshold, abs=0.04)
    with pytest.raises(SlonikError, match="between 0 and 1"):
        NearFilter(1.0)
