"""Texts made of other texts: near pairs and substituted words, the same for the same text and seed."""

from __future__ import annotations

import re

import numpy as np
import pytest

from slonik.compression.altered_texts import WordForms, altered_copy, newspaper_words, substituted, twice_translated
from slonik.models.baselines import navec_path

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


pytest.importorskip("pymorphy3")


_NOUNS = "дом город стол завод мост закон договор рынок театр вокзал берег остров кабинет проспект бюджет туннель"
_CITIES = "москва рязань казань пермь самара тула вологда калуга уфа одесса прага варшава рига вена анкара"


@pytest.fixture(scope="module")
def forms() -> WordForms:
    return WordForms(((word, 10) for word in f"{_NOUNS} {_CITIES} и x 2020".split()), fewest=5)


def test_a_word_is_drawn_by_its_form(forms: WordForms) -> None:
    form = forms.form("банк")
    assert form is not None and {"NOUN", "masc", "nomn"} <= set(form.split(","))
    rng = np.random.default_rng(0)
    drawn = {forms.draw(form, rng) for _ in range(300)}
    assert drawn <= set(_NOUNS.split()) and len(drawn) > 5
    city = forms.form("сибирь")
    assert city is not None and forms.draw(city, rng).istitle()
    assert forms.form("банкам") is None  # no word of the table is a dative
    assert forms.form("и") is None and forms.form("the") is None


def test_frequent_words_come_more_often() -> None:
    forms = WordForms(((word, 100_000 if word == "завод" else 10) for word in _NOUNS.split()), fewest=5)
    form = forms.form("банк")
    assert form is not None
    rng = np.random.default_rng(0)
    assert sum(forms.draw(form, rng) == "завод" for _ in range(200)) > 150


def test_all_but_words_and_numbers_stays(forms: WordForms) -> None:
    text = "В 1998 году (по-моему) вот такой «завод» — и город, и «Мост»: 7 км, NATO!"
    made = [substituted(text, forms, seed) for seed in range(30)]
    assert len(set(made)) > 10
    for changed in made:
        assert re.sub(r"\w+", "", changed) == re.sub(r"\w+", "", text)  # the same marks and spaces
        year, distance = re.findall(r"\d+", changed)
        assert 1000 <= int(year) <= 9999 and 0 <= int(distance) <= 9
        assert "NATO" in changed and changed.startswith("В ")
        assert re.findall(r"«(\w)\w*»", changed)[1].isupper()


def test_a_substituted_copy_depends_on_text_and_seed_alone(forms: WordForms) -> None:
    text = "Завод строит мост"
    first = [substituted(text, forms, seed) for seed in range(5)]
    substituted("другой город", forms)
    assert [substituted(text, forms, seed) for seed in range(5)] == first


def test_the_newspaper_counts_are_those_of_navec() -> None:
    counts = dict(newspaper_words(navec_path()))
    assert len(counts) >= 250_000
    assert counts["президент"] > counts["слон"] > 100
