"""What layers run on while trained: plain attention on a CPU in bfloat16, compiled blocks; as before afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.models.fresh import Shape, TokenIds, build
from slonik.train.kernels import (
    compiled_layers,
    fast_attention,
    fast_products,
    recomputed_layers,
    repeated_blocks,
)
from slonik.train.run_log import read_metrics
from tests.compression.families import some_plan, tiny
from tests.train import toy, toy_processes

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


def _trained(family: str) -> Any:
    """A body of two layers whose config drops out."""
    if family == "ltg":
        return build(
            Shape(family="ltg-bert", layers=2, hidden=32, heads=2, ffn=64, max_length=64, dropout=0.1),
            TokenIds(300, pad=0, bos=1, eos=2),
        )
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


@pytest.mark.parametrize(("family", "layers"), [("bert", 2), ("gpt2", 2)])
def test_repeated_blocks_are_the_layers(family: str, layers: int) -> None:
    found = repeated_blocks(toy.student(family))
    assert len(found) == layers and len({type(block) for block in found}) == 1


def test_layers_are_compiled_within_the_block_only() -> None:
    model = toy_processes.Network()
    with compiled_layers(model, on=True):
        assert all(layer._compiled_call_impl is not None for layer in model.layers)
        assert model.head._compiled_call_impl is None
    assert all(layer._compiled_call_impl is None for layer in model.layers)
    with compiled_layers(model, on=False):
        assert all(layer._compiled_call_impl is None for layer in model.layers)


def test_a_run_with_compiled_layers_is_that_without(tmp_path: Path) -> None:
    # The compiler itself is left out (it would take a minute): what is tested is the way through it.
    with torch.compiler.set_stance("force_eager"):
        toy_processes.train(tmp_path / "compiled", compile=True)
    toy_processes.train(tmp_path / "plain")
    losses = [
        [line["loss"] for line in read_metrics(tmp_path / name / "metrics.jsonl") if "loss" in line]
        for name in ("compiled", "plain")
    ]
    assert losses[0] == losses[1] and len(losses[0]) == toy_processes.STEPS


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "ltg"])
def test_recomputed_layers_have_the_same_gradients_dropout_included_and_keep_less(family: str) -> None:
    model = _trained(family).train()
    ids = torch.arange(96).reshape(4, 24) % 50 + 5

    def step() -> tuple[list[Tensor], int]:
        kept = 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        torch.manual_seed(3)
        inputs = {"input_ids": ids} | (
            {"decoder_input_ids": ids, "use_cache": False} if family == "t5" else {"attention_mask": ids > 0}
        )
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            total = model(**inputs)[0].square().mean()
        used = [parameter for parameter in model.parameters() if parameter.requires_grad]
        grads = torch.autograd.grad(total, used, allow_unused=True)
        return [grad for grad in grads if grad is not None], kept

    expected, plain = step()
    with recomputed_layers(model, on=True):
        found, less = step()
    assert less < 0.7 * plain and "forward" not in vars(repeated_blocks(model)[0])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_single_precision_is_multiplied_faster_on_a_gpu_where_it_stands_beside_half() -> None:
    assert torch.get_float32_matmul_precision() == "highest"
    for device, exact, expected in (("cuda", False, "high"), ("cuda", True, "highest"), ("cpu", False, "highest")):
        with fast_products(torch.device(device), exact=exact):
            assert torch.get_float32_matmul_precision() == expected
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("family", ["bert", "modernbert", "slim", "gpt2", "t5"])
def test_flex_attention_is_set_where_nothing_is_dropped_and_refused_elsewhere(family: str) -> None:
    model, gpu = _model(family), torch.device("cuda")
    with fast_attention(model, gpu, bf16=True, flex=True, drops=False):
        assert _used(model) == {"slonik_flex_attention" if family in ("gpt2", "t5") else "flex_attention"}
    assert _used(model) == {"sdpa"}
    with pytest.raises(SlonikError, match="trains on a GPU only"), fast_attention(model, CPU, bf16=True, flex=True):
        pass


def test_flex_attention_drops_nothing_out() -> None:
    model = _model("bert")
    model.config.attention_probs_dropout_prob = 0.1
    refused = pytest.raises(SlonikError, match="the model has attention_probs_dropout_prob: train")
    with refused, fast_attention(model, torch.device("cuda"), bf16=True, flex=True):
        pass
    model = _model("t5")
    model.config.dropout_rate = 0.1
    refused = pytest.raises(SlonikError, match="the model has dropout_rate: train")
    with refused, fast_attention(model, torch.device("cuda"), bf16=True, flex=True):
        pass
    refused = pytest.raises(SlonikError, match="which DebertaV2Model does not take")
    with refused, fast_attention(_model("deberta-v2"), torch.device("cuda"), bf16=True, flex=True):
        pass
