"""Pooling on tensors."""

from __future__ import annotations

import pytest
import torch

from slonik.models.pooling import mean_pool, pool


def test_mean_leaves_padding_out() -> None:
    hidden = torch.randn(2, 5, 3)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    hidden[1, 2:] = 1e6
    found = mean_pool(hidden, mask)
    torch.testing.assert_close(found, torch.stack([hidden[0].mean(0), hidden[1, :2].mean(0)]))
    assert not mean_pool(hidden, torch.zeros(2, 5)).any()


def test_kinds() -> None:
    hidden, mask, head = torch.randn(2, 5, 3, dtype=torch.bfloat16), torch.ones(2, 5), torch.randn(2, 3)
    torch.testing.assert_close(pool(hidden, mask, "cls"), hidden[:, 0].float())
    torch.testing.assert_close(pool(hidden, mask, "pooler", head), head)
    assert pool(hidden, mask, "mean").dtype == torch.float32
    for kind in ("max", "pooler"):
        with pytest.raises(ValueError, match="cannot pool"):
            pool(hidden, mask, kind)
