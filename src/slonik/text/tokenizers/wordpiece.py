"""Train a WordPiece vocabulary by its real score: merge the pair with the greatest freq(ab) / (freq(a) freq(b)).

Source: Schuster and Nakajima 2012, "Japanese and Korean voice search": the merge that raises the likelihood of the
corpus most. The trainers of the usual libraries merge by frequency and so make BPE with `##` marks. On its own the
score prefers pairs that occur only together however rare they are, so a pair must occur `min_frequency` times.

Does: count words in bounded memory; exact greedy merging, where only the pairs that touch the merged symbols are scored
again.
Does not: build or write tokenizers (see `training`).
"""

from __future__ import annotations

import itertools
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.progress import progress_bar

#: What a token inside a word begins with.
CONTINUATION = "##"
#: Different words held in memory; beyond it, words seen once or twice so far are forgotten.
MAX_WORDS = 3_000_000
_SHIFT = 32


def count_words(
    pipeline: Tokenizer, texts: Iterable[str], *, total: int | None = None, max_words: int = MAX_WORDS
) -> Counter[str]:
    """Word -> how often it occurs, words being what the tokenizer's own normalizer and pre-tokenizer make.

    pipeline: its normalizer and pre-tokenizer are used, its model is not.
    total: number of texts, where it is known, for the progress bar.
    max_words: when more different words are held, the rarest are dropped, so counts of rare words in a huge corpus
        are lower bounds.
    """
    counts: Counter[str] = Counter()
    normalizer, splitter = pipeline.normalizer, pipeline.pre_tokenizer
    with progress_bar("counting words", total) as bar:
        for text in texts:
            clean = normalizer.normalize_str(text) if normalizer is not None else text
            counts.update([word for word, _ in splitter.pre_tokenize_str(clean)])
            if len(counts) > max_words:
                _forget_rare(counts, max_words)
            bar.advance(1)
    return counts


def _forget_rare(counts: Counter[str], max_words: int) -> None:
    """Drop words by rising count until at most half of `max_words` are left (only the rarest are touched)."""
    limit = 1
    while len(counts) > max_words // 2:
        for word in [word for word, count in counts.items() if count <= limit]:
            del counts[word]
        limit += 1


class MergeTable:
    """Words cut into symbols, the pairs of neighbouring symbols, and their scores.

    Symbols, pairs and words have numbers. A pair's list of words may hold words that lost the pair since.
    """

    def __init__(self, words: Mapping[str, int], min_frequency: int) -> None:
        """words: word -> count. min_frequency: how often a pair must occur to be merged."""
        self.symbols: list[str] = []
        self._numbers: dict[str, int] = {}
        self._symbol_counts = array("q")
        self._pairs_of: list[array[int]] = []
        self._pair_numbers: dict[int, int] = {}
        self._left, self._right, self._pair_counts = array("q"), array("q"), array("q")
        self._words_of_pair: list[list[int]] = []
        self._scores: NDArray[np.float64] = np.zeros(1024)
        self._min_frequency = min_frequency
        # A fixed order of words makes the order of pairs, and so the choice among equal scores, the same always.
        ordered = sorted(words.items(), key=lambda item: (-item[1], item[0]))
        self._counts = [count for _, count in ordered]
        self._words = [self._cut(word, count) for word, count in ordered]
        for number, word in enumerate(self._words):
            self._add_pairs(word, self._counts[number], number)
        self._score(np.arange(len(self._left)))

    def merges(self) -> Iterator[tuple[str, str, str, float]]:
        """Merge again and again: yields (left, right, merged symbol, score), until no pair is frequent enough.

        Of equal scores the pair that came up first is taken; pairs come up in the order of the words, the most
        frequent words first.
        """
        while len(self._left):
            best = int(np.argmax(self._scores[: len(self._left)]))
            score = float(self._scores[best])
            if score <= 0:
                return
            left, right = self._left[best], self._right[best]
            merged = self._merge(best)
            yield self.symbols[left], self.symbols[right], self.symbols[merged], score

    def lower(self, min_frequency: int) -> None:
        """Let rarer pairs be merged from now on."""
        self._min_frequency = min_frequency
        self._score(np.arange(len(self._left)))

    def _cut(self, word: str, count: int) -> list[int]:
        """A word as symbols of one character each."""
        numbers = [self._number(word[0])] + [self._number(CONTINUATION + letter) for letter in word[1:]]
        for number in numbers:
            self._symbol_counts[number] += count
        return numbers

    def _number(self, symbol: str) -> int:
        number = self._numbers.get(symbol)
        if number is None:
            number = self._numbers[symbol] = len(self.symbols)
            self.symbols.append(symbol)
            self._symbol_counts.append(0)
            self._pairs_of.append(array("q"))
        return number

    def _add_pairs(self, symbols: Sequence[int], count: int, word: int) -> None:
        """Count the neighbours of a stretch of a word."""
        for left, right in itertools.pairwise(symbols):
            key = left << _SHIFT | right
            pair = self._pair_numbers.get(key)
            if pair is None:
                pair = self._pair_numbers[key] = len(self._left)
                self._left.append(left)
                self._right.append(right)
                self._pair_counts.append(0)
                self._words_of_pair.append([])
                self._pairs_of[left].append(pair)
                if right != left:
                    self._pairs_of[right].append(pair)
            self._pair_counts[pair] += count
            words = self._words_of_pair[pair]
            if not words or words[-1] != word:
                words.append(word)

    def _remove_pairs(self, symbols: Sequence[int], count: int) -> None:
        for left, right in itertools.pairwise(symbols):
            self._pair_counts[self._pair_numbers[left << _SHIFT | right]] -= count

    def _merge(self, pair: int) -> int:
        """Merge one pair in all words; returns the merged symbol."""
        left, right = self._left[pair], self._right[pair]
        merged = self._number(self.symbols[left] + self.symbols[right].removeprefix(CONTINUATION))
        waiting, self._words_of_pair[pair] = self._words_of_pair[pair], []
        done = 0
        for number in dict.fromkeys(waiting):
            old = self._words[number]
            new, first, times = _replace(old, left, right, merged)
            if times:
                count = self._counts[number]
                # Nothing changes before the left neighbour of the first merge.
                start = max(first - 1, 0)
                self._remove_pairs(old[start:], count)
                self._add_pairs(new[start:], count, number)
                self._words[number] = new
                done += times * count
        self._symbol_counts[left] -= done
        self._symbol_counts[right] -= done
        self._symbol_counts[merged] += done
        for symbol in (left, right, merged):
            self._score(np.frombuffer(self._pairs_of[symbol], dtype=np.int64))
        return merged

    def _score(self, pairs: NDArray[np.int64]) -> None:
        """Compute the scores of some pairs anew; pairs below the minimum frequency get 0."""
        if len(self._scores) < len(self._left):
            self._scores = np.concatenate((self._scores, np.zeros(max(len(self._scores), len(self._left)))))
        counts = np.frombuffer(self._pair_counts, dtype=np.int64)[pairs]
        symbols = np.frombuffer(self._symbol_counts, dtype=np.int64).astype(np.float64)
        left = symbols[np.frombuffer(self._left, dtype=np.int64)[pairs]]
        right = symbols[np.frombuffer(self._right, dtype=np.int64)[pairs]]
        frequent = counts >= self._min_frequency
        self._scores[pairs] = np.where(frequent, counts / np.maximum(left * right, 1.0), 0.0)


def _replace(word: list[int], left: int, right: int, merged: int) -> tuple[list[int], int, int]:
    """A word with every `left right` merged, from the left; the place of the first merge; how many there were."""
    new: list[int] = []
    first, times, place, last = -1, 0, 0, len(word) - 1
    while place <= last:
        if word[place] == left and place < last and word[place + 1] == right:
            if not times:
                first = place
            new.append(merged)
            times += 1
            place += 2
        else:
            new.append(word[place])
            place += 1
    return new, first, times
