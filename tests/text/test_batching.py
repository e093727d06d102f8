"""Every text is in one batch, every token in one window, and budgets hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slonik.text.batching import token_budget_batches, windows


@given(st.lists(st.integers(1, 600), max_size=80), st.integers(1, 2000), st.integers(1, 40))
def test_batches_hold_every_text_once_within_the_budget(lengths: list[int], budget: int, most: int) -> None:
    batches = token_budget_batches(lengths, budget, most)
    assert sorted(int(index) for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[int(index)] for index in batch)
        assert len(batch) <= most
        assert len(batch) == 1 or len(batch) * longest <= budget


@given(st.integers(0, 3000), st.integers(2, 600), st.integers(0, 1))
def test_windows_cover_every_token(length: int, size: int, overlap: int) -> None:
    found = windows(length, size, overlap)
    covered = {token for start, end in found for token in range(start, end)}
    assert covered == set(range(length))
    assert all(end - start <= size for start, end in found)
