"""Batches: within the budget, never without the oldest text, and in the end everything once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slonik.serving import engine
from slonik.serving.text_queue import choose_batch

LENGTHS = st.lists(st.integers(1, 512), max_size=60)


@given(lengths=LENGTHS, budget=st.integers(1, 4096), most=st.integers(1, 40))
def test_a_batch_holds_the_oldest_text_and_keeps_the_budget(lengths: list[int], budget: int, most: int) -> None:
    batch = choose_batch(lengths, budget, most)
    assert len(set(batch)) == len(batch) <= most
    assert bool(batch) == bool(lengths)
    if batch:
        assert 0 in batch
        longest = max(lengths[position] for position in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget
        assert [lengths[position] for position in batch] == sorted(lengths[position] for position in batch)


@given(lengths=LENGTHS, budget=st.integers(1, 4096))
def test_padding_is_bounded(lengths: list[int], budget: int) -> None:
    batch = [lengths[position] for position in choose_batch(lengths, budget)]
    if batch:
        assert max(batch) - min(batch) <= max(16, max(batch) // 4)


@settings(max_examples=50)
@given(lengths=LENGTHS, budget=st.integers(1, 4096))
def test_emptying_a_queue_takes_each_text_once_and_the_oldest_never_waits(lengths: list[int], budget: int) -> None:
    waiting = list(enumerate(lengths))
    seen: list[int] = []
    while waiting:
        chosen = choose_batch([length for _, length in waiting], budget)
        seen += [waiting[position][0] for position in chosen]
        assert waiting[0][0] in seen
        waiting = [item for position, item in enumerate(waiting) if position not in chosen]
    assert sorted(seen) == list(range(len(lengths)))


def test_equal_lengths_fill_the_budget() -> None:
    assert len(choose_batch([10] * 50, 200)) == 20
    assert len(choose_batch([10] * 50, 200, max_texts=7)) == 7


def test_a_long_text_does_not_drag_short_ones_along() -> None:
    assert choose_batch([500, 10, 10, 480, 10], 10_000) == [3, 0]
    assert choose_batch([10, 500, 12, 11, 490], 10_000) == [0, 3, 2]


@pytest.mark.parametrize(
    ("own", "told", "quota", "workers"),
    [(1, None, 6, 6), (1, 3, 6, 3), (2, None, 6, 3), (4, 2, 6, 1), (None, None, 6, 1), (None, 2, 6, 1)],
)
def test_workers_fit_on_the_processors_that_there_are(
    monkeypatch: pytest.MonkeyPatch, own: int | None, told: int | None, quota: int, workers: int
) -> None:
    """One for each processor that a call of the model leaves free; `quota` is what a container gives."""
    monkeypatch.setattr(engine, "available_threads", lambda: quota)
    model = SimpleNamespace(**({} if own is None else {"threads": own}))
    assert engine.workers_of(model, told) == workers
