"""Metrics against values computed by hand and scikit-learn's; ties and blocks as in trec_eval."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from slonik.evaluation.retrieval.metrics import METRICS, per_query
from slonik.evaluation.retrieval.ranking import NONE, Best


def test_values_by_hand() -> None:
    found = per_query(np.array([[4, 0, 1, 2]]), [{0: 2, 2: 1, 7: 3, 1: -2}])
    ideal = 3 + 2 / log2(3) + 1 / log2(4)
    assert found["ndcg@10"][0] == pytest.approx((2 / log2(3) + 1 / log2(5)) / ideal)
    assert found["mrr@10"][0] == pytest.approx(1 / 2)
    assert found["recall@10"][0] == found["recall@100"][0] == pytest.approx(2 / 3)


def test_nothing_counts_beyond_the_cut() -> None:
    found = per_query(np.array([[*range(1, 11), 0]]), [{0: 1}])
    assert [found[name][0] for name in METRICS] == [0.0, 0.0, 0.0, 1.0]


def test_a_ranking_shorter_than_the_cut_is_padded() -> None:
    found = per_query(np.array([[3, NONE], [NONE, NONE]]), [{3: 1, 4: 1}, {0: 1}])
    assert found["ndcg@10"].tolist() == [pytest.approx(1 / (1 + 1 / log2(3))), 0.0]
    assert found["recall@100"].tolist() == [0.5, 0.0]


def test_ndcg_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, grades = rng.normal(size=30), rng.integers(0, 4, size=30)
        grades[0] = 3
        ranking = np.argsort(-scores)[None]
        found = per_query(ranking, [dict(enumerate(grades.tolist()))])["ndcg@10"][0]
        assert found == pytest.approx(ndcg_score(grades[None], scores[None], k=10))


@pytest.mark.parametrize("block", [1, 7, 64])
def test_the_best_of_blocks_are_the_best_of_all_with_ties_by_descending_id(block: int) -> None:
    rng = np.random.default_rng(1)
    scores = np.round(rng.normal(size=(5, 64)), 1).astype(np.float32)  # many ties
    ids = [f"d{number}" for number in rng.permutation(64)]
    order = np.argsort(np.argsort(ids)[::-1])  # place in the descending order
    best = Best(5, 10, order)
    for start in range(0, 64, block):
        best.add(scores[:, start : start + block], np.arange(start, min(64, start + block)))
    for row in range(5):
        expected = sorted(range(64), key=lambda number: (scores[row, number], ids[number]), reverse=True)[:10]
        assert best.ranking.found(row) == expected
