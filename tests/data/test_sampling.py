"""Samples: even over different texts, equal whatever the order, and apart from the held-out part."""

from __future__ import annotations

import itertools
import random

import pytest

from slonik.core.errors import SlonikError
from slonik.data.sampling import (
    Sample,
    TextLimits,
    is_held_out,
    normalised,
    sample,
    sample_pairs,
    sample_sentences,
    set_aside,
    split_sentences,
)

NUMBERS = [f"предложение номер {n}" for n in range(5_000)]


def test_the_sample_depends_on_the_seed_and_not_on_the_order() -> None:
    shuffled = NUMBERS.copy()
    random.Random(1).shuffle(shuffled)
    chosen = sample(NUMBERS, 100, seed=3)
    assert len(set(chosen)) == 100
    assert sample(shuffled, 100, seed=3) == chosen
    assert sample(NUMBERS, 100, seed=4) != chosen
    assert sample(NUMBERS, 40, seed=3) == chosen[:40]


def test_the_sample_is_even_over_different_texts() -> None:
    """A text that makes up 90 % of the stream is drawn no more often than any other."""
    stream = itertools.chain(["Частый текст."] * 45_000, NUMBERS, ["частый текст"])
    chosen = sample(stream, 1_000)
    assert len({normalised(text) for text in chosen}) == 1_000
    positions = [int(text.split()[-1]) for text in chosen if text in set(NUMBERS)]
    assert abs(sum(positions) / len(positions) - 2_500) < 3 * 5_000 / 12**0.5 / 1_000**0.5


def test_everything_comes_when_the_sample_is_larger_than_the_stream() -> None:
    assert sorted(sample(["б", "а", "б", "Б!"], 10)) == ["а", "б"]
    assert sample([], 10) == []
    with pytest.raises(SlonikError, match="sample size is 0"):
        sample(["а"], 0)


def test_the_held_out_part_is_fixed_and_of_the_asked_size() -> None:
    held = [text for text in NUMBERS if is_held_out(text, 0.1)]
    assert 400 < len(held) < 600
    assert all(is_held_out(text.upper() + "!", 0.1) for text in held)
    assert {text for text in NUMBERS if is_held_out(text, 0.05)} < set(held)


def test_train_and_held_out_samples_share_no_text() -> None:
    texts = [f"{text} и ещё немного" for text in NUMBERS]
    train = sample_sentences(texts, 5_000, held_out=False)
    held = sample_sentences(texts, 5_000, held_out=True)
    assert len(train) + len(held) == 5_000 and not set(train) & set(held)
    pairs = [(f"sentence number {n} and more", text) for n, text in enumerate(texts)]
    assert {pair[1] for pair in sample_pairs(pairs, 5_000, held_out=True)} == set(held)


def test_long_texts_become_sentences_within_the_limits() -> None:
    long = "Это первое предложение. А вот и второе, подлиннее! И т. д. в конце третьего."
    assert list(split_sentences([long, "Да."], longer_than=40)) == [
        "Это первое предложение.", "А вот и второе, подлиннее!", "И т. д. в конце третьего.", "Да.",
    ]  # fmt: skip
    limits = TextLimits(min_words=2, max_words=3, max_characters=20)
    assert [text for text in ["а", "а б", "а б в г", "а " + "б" * 30] if limits.allow(text)] == ["а б"]


def test_texts_of_the_same_letters_are_the_same_and_signs_stand_for_themselves() -> None:
    assert [normalised(text) for text in ("Слон.", "слон", "...", "!!!")] == ["слон", "слон", "...", "!!!"]


def test_one_pass_sets_the_held_out_part_aside() -> None:
    held = Sample[str](1_000)
    rest = list(set_aside(NUMBERS, held, 0.1))
    assert sorted(rest + held.items()) == sorted(NUMBERS)
    assert not any(is_held_out(text, 0.1) for text in rest)
