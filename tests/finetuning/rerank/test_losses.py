"""Losses against torch's own, and batches in which another query's relevant document is no negative."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from slonik.data.rankings import Asked
from slonik.finetuning.rerank.bi_encoder import BatchLoss, allowed
from slonik.finetuning.rerank.cross_encoder import PairLoss


def test_softmax_of_one_relevant_document_is_cross_entropy() -> None:
    scores, label = torch.randn(3, 4), torch.zeros(3, 4)
    label[:, 0] = 0.5
    expected = F.cross_entropy(scores, torch.zeros(3, dtype=torch.int64))
    assert torch.allclose(PairLoss("softmax").of_scores(scores, label), expected)


def test_softmax_shares_out_grades() -> None:
    scores, label = torch.randn(1, 3), torch.tensor([[1.0, 0.5, 0.0]])
    expected = F.cross_entropy(scores, torch.tensor([[2 / 3, 1 / 3, 0.0]]))
    assert torch.allclose(PairLoss("softmax").of_scores(scores, label), expected)


def test_bce_is_of_each_pair() -> None:
    scores, label = torch.randn(2, 3), torch.tensor([[1.0, 0, 0], [0.5, 0, 0]])
    expected = F.binary_cross_entropy(torch.sigmoid(scores), label)
    assert torch.allclose(PairLoss("bce").of_scores(scores, label), expected)


def test_relevant_documents_of_a_query_are_not_its_negatives() -> None:
    queries = [Asked("а", {0: 1.0, 2: 1.0, 5: 0.0}), Asked("б", {2: 1.0})]
    found = allowed(queries, np.array([[0, 5], [2, 7]]))
    assert found.tolist() == [[True, True, False, True], [True, True, True, True]]
    same = allowed([Asked("а", {0: 1.0}), Asked("б", {0: 1.0})], np.array([[0, 1], [0, 2]]))
    assert same.tolist() == [[True, True, False, True], [False, True, True, True]]


def test_the_batch_loss_is_cross_entropy_over_the_allowed() -> None:
    queries, documents = F.normalize(torch.randn(2, 8), dim=-1), F.normalize(torch.randn(4, 8), dim=-1)
    mask = torch.tensor([[True, True, False, True], [True] * 4])
    scores = queries @ documents.T / 0.1
    expected = (
        torch.logsumexp(scores[0, [0, 1, 3]], 0) - scores[0, 0] + torch.logsumexp(scores[1], 0) - scores[1, 2]
    ) / 2
    assert BatchLoss(0.1).of_vectors(queries, documents, mask).item() == pytest.approx(expected.item(), rel=1e-5)
