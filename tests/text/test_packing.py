"""Rows of several texts: nothing lost, nothing too long, few gaps."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.text.packing import pack_best_fit, pack_in_order


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
