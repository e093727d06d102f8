"""Every text is in one batch, every token in one window or row; budgets hold, padding changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slonik.text.batching import (
    pack_best_fit,
    pack_in_order,
    pad_arrays,
    pad_fields,
    pad_ids,
    token_budget_batches,
    windows,
)


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


@pytest.mark.parametrize("left", [False, True])
@given(rows=st.lists(st.lists(st.integers(0, 9), max_size=7), max_size=6))
def test_the_mask_gives_the_rows_back(rows: list[list[int]], left: bool) -> None:
    ids, mask = pad_ids(rows, 77, left=left)
    assert [row[kept == 1].tolist() for row, kept in zip(ids, mask, strict=True)] == rows
    assert (ids[mask == 0] == 77).all()
    if ids.size:
        ends = mask[:, -1] if left else mask[:, 0]
        assert ends.tolist() == [int(bool(row)) for row in rows]


def test_arrays_are_padded_on_every_axis_and_keep_their_kind() -> None:
    halves = pad_arrays([np.ones((2, 3), np.float16), np.ones((1, 4), np.float16)])
    assert (halves.shape, halves.dtype, halves.sum()) == ((2, 2, 4), np.float16, 10)
    assert pad_arrays([np.zeros(1, np.int32), np.zeros(3, np.int32)], 5).tolist() == [[0, 5, 5], [0, 0, 0]]
    fields = pad_fields(
        [{"a": [1], "b": [0.5, 1.0], "c": [True]}, {"a": [1, 2], "b": [2.0], "c": [True, True]}], {"a": 9}
    )
    assert {name: array.dtype.name for name, array in fields.items()} == {"a": "int64", "b": "float32", "c": "bool"}
    assert fields["a"].tolist() == [[1, 9], [1, 2]]
    assert fields["c"].tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("pack", [pack_best_fit, pack_in_order])
@pytest.mark.parametrize("seed", range(5))
def test_every_text_is_in_one_row_and_no_row_is_too_long(pack, seed: int) -> None:  # type: ignore[no-untyped-def]
    lengths = np.random.default_rng(seed).integers(0, 65, size=300)
    rows = pack(lengths, 64)
    placed = sorted(index for row in rows for index in row)
    assert placed == np.flatnonzero(lengths).tolist()
    assert max(int(lengths[row].sum()) for row in rows) <= 64


def test_best_fit_leaves_almost_nothing_empty_and_its_order_packs_as_well() -> None:
    lengths = np.random.default_rng(0).geometric(1 / 30, size=5000).clip(max=128)
    rows = pack_best_fit(lengths, 128)
    assert lengths.sum() / (len(rows) * 128) > 0.99
    order = np.concatenate(rows)
    assert len(pack_in_order(lengths[order], 128)) <= len(rows)


def test_best_fit_takes_the_fullest_row_that_has_room() -> None:
    assert pack_best_fit([6, 5, 3, 4], 10) == [[0, 3], [1, 2]]


@pytest.mark.parametrize("pack", [pack_best_fit, pack_in_order])
def test_a_text_longer_than_a_row_is_an_error(pack) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="11 tokens does not fit"):
        pack([3, 11], 10)
