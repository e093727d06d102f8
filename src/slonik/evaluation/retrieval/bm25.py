"""BM25 over lemmas or words: the baseline that needs no model, and the usual first stage of a cross-encoder.

An inverted index in numpy arrays: 8 bytes for every distinct word of a document. Lemmas are pymorphy3's first parse;
without them BM25 is weak in Russian, where a word has a dozen forms.

Source: Robertson & Zaragoza 2009, section 3, with Lucene's idf, which is never negative:
score = sum over query words of ln(1 + (N - df + .5) / (df + .5)) * tf / (tf + k1 (1 - b + b length / mean length)).

Shapes: Q queries, N documents.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra
from slonik.evaluation.retrieval.ranking import Best, Ranking

K1, B = 1.2, 0.75
"""Lucene's."""
Analyse = Callable[[str], list[str]]
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Words in lower case, ё as е."""
    return _WORD.findall(text.lower().replace("ё", "е"))


def lemmas(text: str) -> list[str]:
    """Lemmas of the words, ё as е; words of other languages stay as they are.

    Raises:
        MissingExtra: pymorphy3 is not installed.
    """
    find = _lemmatiser()
    return [find(word) for word in words(text)]


@cache
def _lemmatiser() -> Callable[[str], str]:
    try:
        from pymorphy3 import MorphAnalyzer
    except ModuleNotFoundError:
        raise MissingExtra("BM25 over lemmas (bm25_words does without)", "russian", "pymorphy3") from None
    analyzer = MorphAnalyzer(lang="ru")

    @lru_cache(maxsize=1 << 18)
    def lemma(word: str) -> str:
        return str(analyzer.parse(word)[0].normal_form).replace("ё", "е")

    return lemma


class Bm25:
    """An index of documents.

    Args:
        texts: N documents; they are read once and not kept.
        analyse: text -> words.
    """

    def __init__(self, texts: Iterable[str], analyse: Analyse = lemmas, *, k1: float = K1, b: float = B) -> None:
        self._analyse = analyse
        self._words: dict[str, int] = {}
        terms, counts, sizes, lengths = array("i"), array("i"), array("i"), array("i")
        for text in texts:
            found = Counter(analyse(text))
            terms.extend([self._words.setdefault(word, len(self._words)) for word in found])
            counts.extend(found.values())
            sizes.append(len(found))
            lengths.append(found.total())
        self.size = len(lengths)
        owners = np.repeat(np.arange(self.size, dtype=np.int32), np.frombuffer(sizes, dtype=np.int32))
        by_term = np.frombuffer(terms, dtype=np.int32) if len(terms) else np.zeros(0, np.int32)
        ordered = np.argsort(by_term, kind="stable")
        self._owners = owners[ordered]
        self._starts = np.searchsorted(by_term[ordered], np.arange(len(self._words) + 1))
        long = np.frombuffer(lengths, dtype=np.int32).astype(np.float32) if self.size else np.zeros(0, np.float32)
        mean = float(long.mean()) if self.size and long.any() else 1.0
        tf = (np.frombuffer(counts, dtype=np.int32) if len(counts) else np.zeros(0, np.int32))[ordered]
        tf = tf.astype(np.float32)
        lengths_there = long[self._owners] / mean
        self._weights = (tf / (tf + k1 * (1 - b + b * lengths_there))).astype(np.float32)

    def scores(self, query: str) -> NDArray[np.float32]:
        """(N,) scores of all documents; 0 for those that share no word with the query."""
        found = np.zeros(self.size, dtype=np.float32)
        for word, count in Counter(self._analyse(query)).items():
            term = self._words.get(word)
            if term is None:
                continue
            part = slice(self._starts[term], self._starts[term + 1])
            frequency = part.stop - part.start
            idf = np.log1p((self.size - frequency + 0.5) / (frequency + 0.5))
            found[self._owners[part]] += np.float32(count * idf) * self._weights[part]
        return found

    def search(self, queries: Sequence[str], depth: int, order: Sequence[int]) -> Ranking:
        """The best documents of each query; those that share no word with it are not found."""
        best = Best(len(queries), depth, order)
        for row, query in enumerate(queries):
            scores = self.scores(query)
            there = np.flatnonzero(scores > 0)
            best.add(scores[None, there], there, slice(row, row + 1))
        return best.ranking
