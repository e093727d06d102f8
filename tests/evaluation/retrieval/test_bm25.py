"""BM25 against its formula."""

from __future__ import annotations

from math import log

import pytest

from slonik.evaluation.retrieval.bm25 import K1, B, Bm25, lemmas, words

TEXTS = ["Слон идёт по лесу, слон.", "Лес.", "", "Кошка спит"]


def test_scores_are_those_of_the_formula() -> None:
    index = Bm25(TEXTS, words)
    mean = (5 + 1 + 0 + 2) / 4
    idf = log(1 + (4 - 1 + 0.5) / (1 + 0.5))
    weight = 2 / (2 + K1 * (1 - B + B * 5 / mean))
    assert index.scores("слон слон жираф").tolist() == pytest.approx([2 * idf * weight, 0, 0, 0], rel=1e-6)


def test_lemmas_find_other_forms() -> None:
    assert lemmas("Слоны в лесах, ЁЖИКИ и GPU") == ["слон", "в", "лес", "ежик", "и", "gpu"]
    assert Bm25(TEXTS, words).search(["леса"], 3, [3, 2, 1, 0]).found(0) == []
    assert set(Bm25(TEXTS, lemmas).search(["леса"], 3, [3, 2, 1, 0]).found(0)) == {0, 1}


def test_an_empty_corpus_and_an_empty_query_find_nothing() -> None:
    assert Bm25([], words).search(["слон"], 3, []).found(0) == []
    assert Bm25(["", ""], words).search(["слон", ""], 3, [1, 0]).numbers.max() == -1
