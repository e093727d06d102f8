"""A table of token vectors learns a teacher whose vectors are means of token vectors, and keeps its best epoch."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.compression.static import StaticConfig, start_table, token_counts, train_table
from slonik.core.errors import SlonikError

V, D = 40, 8


@pytest.fixture(scope="module")
def task() -> tuple[list[np.ndarray], np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.normal(size=(V, D)).astype(np.float32)
    ids = [random.integers(0, V, size=random.integers(2, 9)) for _ in range(600)]
    return ids, np.stack([truth[row].mean(0) for row in ids])


def test_the_table_of_such_a_teacher_is_found(task: tuple[list[np.ndarray], np.ndarray]) -> None:
    ids, targets = task
    start = np.random.default_rng(1).normal(size=(V, D)).astype(np.float32)
    config = StaticConfig(epochs=30, batch_texts=64, learning_rate=0.05, similarity_kl=0.1)
    table = train_table(start, ids[100:], targets[100:], ids[:100], targets[:100], config)
    assert table.agreement[0] < 0.3
    assert table.agreement[table.best] == max(table.agreement) > 0.98


def test_equal_seeds_give_equal_tables(task: tuple[list[np.ndarray], np.ndarray]) -> None:
    ids, targets = task
    start = np.random.default_rng(1).normal(size=(V, D)).astype(np.float32)
    config = StaticConfig(epochs=2, batch_texts=100, dropout=0.2)
    first, again = (train_table(start, ids, targets, ids[:50], targets[:50], config, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.vectors, again.vectors)


def test_a_table_that_training_makes_worse_is_left_as_it_was(task: tuple[list[np.ndarray], np.ndarray]) -> None:
    ids, targets = task
    random = np.random.default_rng(0)
    truth = random.normal(size=(V, D)).astype(np.float32)  # the very table that made the targets
    table = train_table(truth, ids, -targets, ids[:50], targets[:50], StaticConfig(epochs=3, learning_rate=0.1))
    assert table.best == 0
    np.testing.assert_array_equal(table.vectors, truth)


def test_frequent_tokens_begin_shorter() -> None:
    counts = token_counts([[0, 0, 0, 1], [0, 1, 2]], 4)
    assert counts.tolist() == [4, 2, 1, 0]
    lengths = np.linalg.norm(start_table(np.eye(4, dtype=np.float32), counts), axis=1)
    assert lengths[0] < lengths[1] < lengths[2] < lengths[3]
    assert lengths.mean() == pytest.approx(1.0)


def test_what_cannot_be_learnt_from_is_refused(task: tuple[list[np.ndarray], np.ndarray]) -> None:
    ids, targets = task
    start = np.zeros((V, D), dtype=np.float32)
    with pytest.raises(SlonikError, match="larger corpus"):
        train_table(start, [], targets, ids, targets)
    with pytest.raises(SlonikError, match="has 8 dimensions and the table 4"):
        train_table(start[:, :4], ids, targets, ids, targets)
