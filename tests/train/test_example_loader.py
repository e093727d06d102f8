"""Batches of labelled examples: complete, a pure function of (seed, epoch), within budget, padded at the end."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.train.example_loader import ExampleLoader, PadFields


def made(count: int = 37) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [
        {"input_ids": rng.integers(5, 90, size=int(rng.integers(1, 30))), "label": np.asarray(n, dtype=np.int64)}
        for n in range(count)
    ]


def test_every_example_comes_once_an_epoch_within_the_budget() -> None:
    examples = made()
    loader = ExampleLoader(examples, PadFields(), max_texts=6, max_tokens=64, seed=4)
    for epoch in range(3):
        plan = loader.plan(epoch)
        assert sorted(np.concatenate(plan).tolist()) == list(range(len(examples)))
        for texts in plan:
            assert len(texts) <= 6
            assert len(texts) * max(examples[n]["input_ids"].size for n in texts) <= 64
    assert [p.tolist() for p in loader.plan(1)] == [
        p.tolist() for p in ExampleLoader(examples, PadFields(), max_texts=6, max_tokens=64, seed=4).plan(1)
    ]
    assert [p.tolist() for p in loader.plan(1)] != [p.tolist() for p in loader.plan(2)]


def test_fields_are_padded_at_the_end_of_every_axis() -> None:
    examples = [
        {"input_ids": np.array([[7, 8], [9, 1]]), "label": np.array([1.0, 0.0]), "candidates": np.array([True, True])},
        {"input_ids": np.array([[5, 5, 5]]), "label": np.array([1.0]), "candidates": np.array([True])},
    ]
    batch = PadFields({"input_ids": 1})(examples)
    assert batch["input_ids"].tolist() == [[[7, 8, 1], [9, 1, 1]], [[5, 5, 5], [1, 1, 1]]]
    assert batch["label"].tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert batch["candidates"].tolist() == [[True, True], [True, False]]


def test_the_fingerprint_sees_every_value() -> None:
    prints = set()
    for change in range(4):
        examples = made()
        if change == 1:
            examples[30]["label"] = np.asarray(99, dtype=np.int64)
        if change == 2:
            examples[3]["input_ids"][0] += 1
        prints.add(ExampleLoader(examples, PadFields(), seed=1 if change == 3 else 0).fingerprint)
    assert len(prints) == 4
    with pytest.raises(SlonikError, match="no training examples"):
        ExampleLoader([], PadFields())
