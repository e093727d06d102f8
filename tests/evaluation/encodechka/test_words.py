"""Words and labels: the published rule with its faults, the mended one, and vectors of words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from slonik.core.protocols import FloatArray, TokenVectors
from slonik.evaluation.encodechka.readers import Document
from slonik.evaluation.encodechka.words import WordVectors, label_words, per_label_f1, split_words, tally
from slonik.evaluation.statistics import MacroF1, value_of
from slonik.models import load
from tests import tiny


def _labels(text: str, *entities: tuple[str, int, int], variant: str) -> list[str]:
    return label_words(Document(text, entities), split_words(text), variant)


def test_word_zero_is_lost_as_published_and_kept_when_mended() -> None:
    text = "Иван Петров уехал"
    assert _labels(text, ("Person", 0, 11), variant="compatible") == ["O", "B-Person", "O"]
    assert _labels(text, ("Person", 0, 11), variant="fixed") == ["B-Person", "I-Person", "O"]


def test_of_overlapping_spans_the_first_wins_as_published_and_the_longest_when_mended() -> None:
    text = "в Банке Москвы тихо"
    spans = (("Location", 8, 14), ("Org", 2, 14))
    assert _labels(text, *spans, variant="compatible") == ["O", "B-Org", "B-Location", "O"]
    assert _labels(text, *spans, variant="fixed") == ["O", "B-Org", "I-Org", "O"]


def test_a_span_labels_the_words_that_it_touches() -> None:
    assert _labels("он в Нью-Йорке.", ("Location", 5, 8), variant="fixed") == ["O", "O", "B-Location", "O"]


class LetterTokens:
    """One token per letter; its vector is (letter's code, 1); at most `limit` tokens a text."""

    name = "letters"
    dimension = 2

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.texts: list[str] = []

    def encode_tokens(self, texts: Sequence[str], *, prefix: str = "") -> list[TokenVectors]:
        self.texts += texts
        return [self._tokens(text, prefix) for text in texts]

    def _tokens(self, text: str, prefix: str) -> TokenVectors:
        places = [i for i, letter in enumerate(text) if letter not in " \u00ad"][: self.limit]
        vectors = np.array([(0, 0)] * len(prefix) + [(ord(text[i]), 1) for i in places], np.float32).reshape(-1, 2)
        offsets = np.array([(0, 0)] * len(prefix) + [(i, i + 1) for i in places], np.int64).reshape(-1, 2)
        special = np.array([True] * len(prefix) + [False] * len(places), np.bool_)
        return TokenVectors(vectors, offsets, special)


def _means(words: Sequence[str]) -> FloatArray:
    return np.array([(np.mean([ord(c) for c in word]), 1) for word in words], np.float32)


def test_a_word_is_the_mean_of_its_pieces_and_the_prefix_is_left_out() -> None:
    words = ["ab", "c", "de"]
    (found,) = WordVectors(LetterTokens(99), "q: ").get([words], whole=False)
    np.testing.assert_allclose(found, _means(words))


def test_words_beyond_the_models_length_are_zeros_as_published() -> None:
    (found,) = WordVectors(LetterTokens(4), "").get([["ab", "cd", "ef"]], whole=False)
    np.testing.assert_allclose(found, [[97.5, 1], [99.5, 1], [0, 0]])


@pytest.mark.parametrize("limit", [3, 4, 5, 99])
def test_mended_every_word_is_read_whole_however_long_the_text(limit: int) -> None:
    documents = [["ab", "cd", "ef", "ghi", "j"], ["k"], []]
    found = WordVectors(LetterTokens(limit), "").get(documents, whole=True)
    for words, vectors in zip(documents, found, strict=True):
        np.testing.assert_allclose(vectors, _means(words).reshape(-1, 2))


def test_words_without_pieces_are_zeros_and_end_the_reading() -> None:
    encoder = LetterTokens(99)
    (found,) = WordVectors(encoder, "").get([["ab", "\u00ad", "\u00ad\u00ad"]], whole=True)
    np.testing.assert_allclose(found, [[97.5, 1], [0, 0], [0, 0]])
    assert len(encoder.texts) <= 2


def test_a_word_longer_than_the_model_does_not_stop_the_reading() -> None:
    (found,) = WordVectors(LetterTokens(3), "").get([["abcdef", "gh"]], whole=True)
    np.testing.assert_allclose(found, [[98, 1], [103.5, 1]])


def test_an_encoder_without_token_vectors_encodes_each_word_alone() -> None:
    class Lengths:
        name, dimension = "lengths", 1

        def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
            return np.array([[len(text)] for text in texts], np.float32)

        def describe(self) -> dict[str, object]:
            return {}

        def identity(self) -> str:
            return self.name

    found = WordVectors(Lengths(), "").get([["a", "bb", "a"], []], whole=False)
    assert [matrix.ravel().tolist() for matrix in found] == [[1.0, 2.0, 1.0], []]


def test_tallies_give_the_macro_f1_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    gold = rng.choice(["O", "B-A", "I-A", "B-B"], 60)
    predicted = np.where(rng.random(60) < 0.7, gold, "B-A")
    names = ["B-A", "B-B", "I-A"]
    tallies = tally(gold, predicted, [20, 25, 15], names)
    expected = f1_score(gold, predicted, average="macro", labels=names)
    assert value_of(MacroF1(tallies)) == pytest.approx(expected)
    single = f1_score(gold, predicted, average=None, labels=names)
    assert per_label_f1(tallies, names) == pytest.approx(dict(zip(names, single, strict=True)), abs=1e-6)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_word_vectors_are_those_of_the_published_code(family: str, tmp_path: Path) -> None:
    """Each word tokenized by itself, cut at the model's length, tokens averaged, zeros beyond the cut."""
    encoder = load(tiny.checkpoint(tmp_path / "m", family))
    texts = ["Мама мыла раму, а папа — нет.", "слово " * 40 + "конец"]
    for text in texts:
        words = [word.text for word in split_words(text)]
        (found,) = WordVectors(encoder, "").get([words], whole=False)
        encoder.tokenizer.enable_truncation(encoder.max_length)
        encoding = encoder.tokenizer.encode(words, is_pretokenized=True)
        encoder.tokenizer.no_truncation()
        with torch.inference_mode():
            hidden = encoder.model(input_ids=torch.tensor([encoding.ids])).last_hidden_state[0].numpy()
        expected = np.zeros((len(words), encoder.dimension), np.float32)
        for index in range(len(words)):
            tokens = [row for row, owner in zip(hidden, encoding.word_ids, strict=True) if owner == index]
            if tokens:
                expected[index] = np.mean(tokens, axis=0)
        np.testing.assert_allclose(found, expected, atol=1e-5)
