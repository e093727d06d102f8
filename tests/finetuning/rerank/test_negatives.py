"""Negatives: never a relevant document, never a near copy of one; the same draw from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.data.rankings import Asked
from slonik.evaluation.retrieval.bm25 import Bm25, words
from slonik.finetuning.rerank.negatives import Draw, mined_by_vectors, mined_by_words

DOCUMENTS = [
    "слон идёт по лесу утром", "слон идёт по лесу утром рано", "слон спит", "лес шумит", "кошка спит", "слон ест",
]  # fmt: skip
ASKED = Asked("слон в лесу", {0: 1.0, 5: 0.0})


def test_words_mine_the_best_that_nobody_judged_without_near_copies() -> None:
    found = mined_by_words(
        Bm25(DOCUMENTS, words), words, DOCUMENTS, [ASKED], np.array([True] * 6), 10, margin=0.8
    )  # fmt: skip
    assert found.negatives[0].tolist() == [2] and found.guarded == 1  # 1 is a near copy of 0
    allowed = np.array([True, True, False, True, True, True])
    none = mined_by_words(Bm25(DOCUMENTS, words), words, DOCUMENTS, [ASKED], allowed, 10, margin=0.8)
    assert none.negatives[0].tolist() == []


def test_vectors_mine_what_scores_clearly_below_the_relevant_document() -> None:
    cosines = np.array([0.8, 0.79, 0.7, 0.2, 0.1, 0.75], dtype=np.float32)
    found = mined_by_vectors(lambda _: cosines, [ASKED], np.array([True] * 6), 3, margin=0.95)
    assert found.negatives[0].tolist() == [2, 3] and found.guarded == 1
    assert cosines[5] == np.float32(0.75)  # what was given stays


def test_a_draw_begins_with_the_relevant_document_and_repeats_by_seed() -> None:
    draw = Draw(ASKED, np.array([2]), np.arange(5), 3)
    first = draw(0, np.random.default_rng(0)).tolist()
    assert first == draw(0, np.random.default_rng(0)).tolist()
    assert first[0] == 0 and {5, 2} < set(first[1:]) and len(set(first)) == 4


def test_lower_grades_are_negatives_of_higher_ones() -> None:
    draw = Draw(Asked("а", {0: 2.0, 1: 1.0, 2: 0.0}), np.zeros(0, np.int64), np.arange(3), 2)
    assert set(draw(0, np.random.default_rng(0)).tolist()) == {0, 1, 2}
    assert draw(1, np.random.default_rng(0)).tolist() == [1, 2, 2]  # there is no other: it comes twice


def test_without_any_wrong_document_there_is_nothing_to_learn() -> None:
    with pytest.raises(SlonikError, match="no document that could be a wrong answer to 'а'"):
        Draw(Asked("а", {0: 1.0}), np.zeros(0, np.int64), np.array([0]), 1)
