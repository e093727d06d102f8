"""Which attention a model has while it is trained: the plain one on a CPU in bfloat16, wherever the model sits."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from slonik.compression.surgery import apply
from slonik.train.kernels import fast_attention
from tests.compression.families import some_plan, tiny

CPU = torch.device("cpu")
FUSED = nn.functional.scaled_dot_product_attention


class _Task(nn.Module):
    """A task model: something of another class around a Transformers model."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.transformer = inner
        self.head = nn.Linear(32, 2)


def _model(family: str) -> Any:
    if family == "slim":
        whole = tiny("xlm-roberta")
        return apply(whole, some_plan(whole))
    return tiny(family)


def _used(model: Any) -> set[str]:
    return {part.config._attn_implementation for part in model.modules() if hasattr(part, "config")}


@pytest.mark.parametrize("family", ["bert", "modernbert", "gpt2", "slim"])
def test_plain_attention_inside_a_task_model_and_the_fused_one_after(family: str) -> None:
    task = _Task(_model(family))
    assert _used(task) == {"sdpa"}
    with pytest.raises(ZeroDivisionError), fast_attention(task, CPU, bf16=True):
        assert _used(task) == {"eager"}
        raise ZeroDivisionError
    assert _used(task) == {"sdpa"}


def test_full_precision_and_accelerators_keep_the_fused_kernel() -> None:
    model = tiny("bert")
    with fast_attention(model, CPU, bf16=False):
        assert _used(model) == {"sdpa"}
    with fast_attention(model, torch.device("cuda"), bf16=True):
        assert _used(model) == {"sdpa"}


@pytest.mark.parametrize("family", ["bert", "modernbert", "gpt2", "slim"])
def test_both_kernels_compute_the_same(family: str) -> None:
    model = _model(family)
    ids = torch.arange(24).reshape(2, 12) + 5
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, 7:] = 0

    def states() -> tuple[Tensor, int]:
        with patch.object(nn.functional, "scaled_dot_product_attention", wraps=FUSED) as fused:
            found: Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state
        return found[mask.bool()], fused.call_count

    expected, calls = states()
    assert calls > 0
    with fast_attention(model, CPU, bf16=True):
        plain, calls = states()
    assert calls == 0
    torch.testing.assert_close(plain, expected, atol=1e-5, rtol=1e-5)
