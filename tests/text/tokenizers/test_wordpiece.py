"""The WordPiece score: the published example, and every merge against a count from scratch."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from fractions import Fraction

import pytest

from slonik.text.tokenizers.wordpiece import MergeTable
from tests.tiny.texts import PAIRS, TEXTS


def _words(texts: list[str]) -> Counter[str]:
    return Counter(word for text in texts for word in re.findall(r"\w+|[^\w\s]", text))


def _from_scratch(words: list[tuple[list[str], int]], min_frequency: int) -> dict[tuple[str, str], Fraction]:
    """The score of every frequent pair, counted anew."""
    symbols: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for word, count in words:
        for symbol in word:
            symbols[symbol] += count
        for pair in itertools.pairwise(word):
            pairs[pair] += count
    return {
        (left, right): Fraction(count, symbols[left] * symbols[right])
        for (left, right), count in pairs.items()
        if count >= min_frequency
    }


def _merged(word: list[str], left: str, right: str) -> list[str]:
    new: list[str] = []
    while word:
        if word[:2] == [left, right]:
            new.append(left + right.removeprefix("##"))
            word = word[2:]
        else:
            new.append(word[0])
            word = word[1:]
    return new


def test_the_first_merge_of_the_published_example() -> None:
    first = next(MergeTable(_words(["мама мыла раму, маму мыла рама"]), 1).merges())
    assert first == ("##ы", "##л", "##ыл", 0.5)


@pytest.mark.parametrize("min_frequency", [1, 2, 3])
@pytest.mark.parametrize("source", ["sentences", "syllables"])
def test_every_merge_has_the_best_score_there_is(source: str, min_frequency: int) -> None:
    """Syllables of two letters make the same symbol arise in several ways, and pairs of a symbol with itself."""
    rng = random.Random(min_frequency)
    syllables = Counter({"".join(rng.choices("аб", k=rng.randint(1, 12))): rng.randint(1, 5) for _ in range(60)})
    counts = _words(TEXTS + [text for pair in PAIRS for text in pair]) if source == "sentences" else syllables
    words = [([word[0], *("##" + letter for letter in word[1:])], count) for word, count in counts.items()]
    merges = 0
    for left, right, symbol, score in MergeTable(counts, min_frequency).merges():
        scores = _from_scratch(words, min_frequency)
        assert score == pytest.approx(float(max(scores.values())), rel=1e-12)
        assert scores[left, right] == max(scores.values())
        assert symbol == left + right.removeprefix("##")
        words = [(_merged(word, left, right), count) for word, count in words]
        merges += 1
        if merges == 150:
            return
    assert _from_scratch(words, min_frequency) == {} and merges > 20


def test_the_order_of_words_does_not_matter() -> None:
    counts = _words(TEXTS)
    backwards = Counter(dict(reversed(counts.items())))
    assert list(MergeTable(counts, 2).merges()) == list(MergeTable(backwards, 2).merges())
