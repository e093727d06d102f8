"""What tokens cannot give back is charged by hand-counted bytes; what they can costs nothing."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from slonik.pretraining.spelling import Spelling, charge
from slonik.text.tokenizers.training import Kind, TrainConfig, train
from slonik.text.tokenizing import encode
from tests import tiny

LINES = "Мама мыла раму,\nа папа (дома) читал: «Да-да».\n\n  Тут   пробелы\tи ё."


def _cost(tokenizer: Tokenizer, text: str) -> float:
    return Spelling(tokenizer).of(text, encode(tokenizer, text)).total


def _words(*tokens: str, lowercase: bool = False) -> Tokenizer:
    made = Tokenizer(models.WordPiece({token: i for i, token in enumerate(("[UNK]", *tokens))}, unk_token="[UNK]"))
    if lowercase:
        made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


@pytest.mark.parametrize(
    ("given", "wanted", "bits"),
    [
        ("слон", "слон", 0),
        ("слон", "Слон", 24),
        (" а", "\nа", 16),
        ("", "ёж", 40),
        (" ,", ",", 8),
        ("\uffff", "x", 16),
    ],
)
def test_a_stretch_costs_eight_bits_a_byte_and_eight_for_its_end(given: str, wanted: str, bits: float) -> None:
    assert charge(given, wanted) == bits


@pytest.mark.parametrize(
    ("tokens", "text", "bits"),
    [
        (("слон", "и", "мышь"), "слон и мышь", 0),
        (("слон", "и", "мышь"), "слон и кот", 8 * 7),  # кот: six bytes and the end
        (("слон", "и", "мышь"), "слон\nи  мышь", 16 + 16),  # a line break; one space more
        (("слон", "##ы", ",", "(", ")"), "слоны, (слон)", 0),
        (("да", "-"), "да-да", 0),
        (("да", "-"), "да - да", 16),  # one space is not foreseen; that behind the dash then is
        (("слон",), "Слон", 8 * 9),
        (("слон",), "слон\n", 16),
        ((), "ё", 8 * 3),
        ((), "", 0),
    ],
)
def test_wordpiece_pays_for_unknown_words_and_for_white_space(tokens: tuple[str, ...], text: str, bits: float) -> None:
    assert _cost(_words(*tokens), text) == bits


def test_lost_capitals_are_paid_for() -> None:
    assert _cost(_words("слон", lowercase=True), "Слон слон") == 24


def test_characters_that_are_dropped_without_a_token_are_paid_for() -> None:
    made = Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[]))  # no unknown token: others vanish
    assert _cost(made, "aёжb") >= 8 * 5  # offsets behind what vanished are wrong
    assert _cost(made, "ёж") == 8 * 5
    assert _cost(made, "ab") == 0


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_tokenizers_that_keep_the_text_pay_nothing(kind: Kind) -> None:
    """Byte-level BPE gives everything back, Unigram all but odd white space, WordPiece what it has letters for."""
    trained = train(TrainConfig(kind=kind, vocab_size=400), [*tiny.TEXTS, LINES]).tokenizer
    plain = "Маленький слон идёт по большому лесу."
    assert _cost(trained, plain) == 0
    if kind == "bpe":
        assert _cost(trained, LINES) == 0 and _cost(trained, "😀 日本 \u0301\u200b") == 0
    elif kind == "unigram":  # by its tokens of single bytes
        assert _cost(trained, "😀 слон 日") == 0
    else:
        assert _cost(trained, "😀") == 8 * 5


@pytest.mark.parametrize("kind", tiny.tokenizers.TOKENIZER_KINDS)
def test_toy_tokenizers_of_the_tests_give_plain_sentences_back(kind: str) -> None:
    known = [text for text in tiny.TEXTS if "unk" not in "".join(encode(tiny.tokenizer(kind), text).tokens).lower()]
    assert len(known) > 5 and sum(_cost(tiny.tokenizer(kind), text) for text in known) <= 16 * len(known)


def test_every_byte_of_an_unknown_script_is_charged() -> None:
    text = "Мама мыла раму"
    assert _cost(_words("the", "cat"), text) == sum(8 * (1 + len(word.encode())) for word in text.split())
