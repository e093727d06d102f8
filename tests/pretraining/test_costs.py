"""What training takes: FLOPs against torch's own counter, memory and FLOPs of published sizes."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from slonik.models.fresh import FAMILIES, Shape, TokenIds, build
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.costs import TextSize, activation_bytes, costs, forward_flops, logit_bytes, run_costs
from slonik.train.kernels import recomputed_layers
from slonik.train.objectives.asked import MOST_LOGITS
from tests.models.test_fresh import IDS, PUBLISHED, shape_of


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_flops_agree_with_torchs_counter(family: str) -> None:
    model = build(shape_of(family), IDS).eval()
    for part in model.modules():  # the counter does not know the CPU's fused attention
        if hasattr(part, "config"):  # the stacks of a T5 may have their own
            part.config._attn_implementation = "eager"
    text = TextSize(40, 0, 10 if model.config.is_encoder_decoder else 0)
    counter = FlopCounterMode(display=False)
    ids = torch.ones(1, text.inputs, dtype=torch.long)
    with torch.no_grad(), counter:
        if model.config.is_encoder_decoder:
            states = model.encoder(input_ids=ids)[0]
            model.decoder(input_ids=ids[:, : text.targets], encoder_hidden_states=states, use_cache=False)
        else:
            model.base_model(input_ids=ids)
    counted = float(counter.get_total_flops())
    # LTG-BERT's and DeBERTa's tables of positions are odd by one row, nothing else may differ.
    assert forward_flops(model, text) == pytest.approx(counted, rel=0.03)


class _ByteMask(torch.autograd.Function):
    """Dropout that keeps what a GPU's does: one byte per number."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, rate: float) -> torch.Tensor:
        kept = torch.rand_like(values) > rate
        ctx.save_for_backward(kept)
        return values * kept / (1 - rate)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        raise NotImplementedError


class _Fused(torch.autograd.Function):
    """Attention that keeps what a fused kernel does: no scores."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, mask: Any, scale: Any) -> torch.Tensor:
        with torch.no_grad():
            mixed = SDPA(query, key, value, attn_mask=mask, scale=scale)
        ctx.save_for_backward(query, key, value, mixed, *([mask] if mask is not None and mask.shape[1] > 1 else []))
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        raise NotImplementedError


SDPA = functional.scaled_dot_product_attention


def _fused(query: Any, key: Any, value: Any, attn_mask: Any = None, scale: Any = None, **_unused: Any) -> torch.Tensor:
    if attn_mask is not None and attn_mask.dtype != torch.bool:
        attn_mask = attn_mask.to(query.dtype)
    return _Fused.apply(query, key, value, attn_mask, scale)


def _kept_bytes(model: Any, shape: Shape, half: bool, read: int, written: int, predicted: int) -> int:
    """Bytes that a real step keeps for its backward pass, weights and their copies apart."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in weights:
            kept[place] = tensor
        return tensor

    ids = torch.randint(5, 290, (2, read))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half, cache_enabled=False),
    ):
        if written:
            encoded = model.encoder(**inputs)[0]
            states = model.decoder(input_ids=ids[:, :written], encoder_hidden_states=encoded, use_cache=False)[0]
        else:
            body = model.base_model
            states = body(**inputs, **({"use_cache": False} if shape.family == "gpt2" else {}))[0]
        logits = states[:, :predicted] @ model.get_input_embeddings().weight.T
        functional.cross_entropy(logits.float().flatten(0, 1), ids[:, :predicted].flatten())
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return total - 2 * half * sum(parameter.numel() for parameter in model.parameters() if parameter.dim() == 2)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_activations_are_what_a_real_step_keeps(family: str, half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        nn.Dropout, "forward", lambda self, values: _ByteMask.apply(values, self.p) if self.p else values
    )
    monkeypatch.setattr(functional, "scaled_dot_product_attention", _fused)
    if "t5" in family and "position_bias" not in inspect.signature(sdpa_attention_forward).parameters:
        pytest.skip("the T5 of this Transformers has no fused attention, and keeps its scores too")
    for read, hidden, heads in ((96, 128, 2), (160, 128, 4)):
        written = 48 if "t5" in family else 0
        shape = shape_of(family, layers=4, hidden=hidden, heads=heads, ffn=384, max_length=160, dropout=0.1)
        model = build(shape, IDS)
        predicted = 12
        found = _kept_bytes(model, shape, half, read, written, predicted) / 2
        told = activation_bytes(shape, TextSize(read, predicted, written), half=half) + logit_bytes(predicted, IDS.size)
        assert told == pytest.approx(found, rel=0.2), (read, found / told)


@pytest.mark.parametrize("family", ["bert", "ltg-bert"])
def test_layers_that_are_computed_twice_keep_their_inputs_alone(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, values: values)
    text = TextSize(96, 12, 0)
    four, three = (shape_of(family, layers=layers, hidden=128, heads=2, ffn=384, max_length=96) for layers in (4, 3))
    model = build(four, IDS)
    with recomputed_layers(model, on=True):
        found = _kept_bytes(model, four, False, text.inputs, 0, text.predicted) / 2  # the layers' inputs among it
    one_layer = activation_bytes(four, text, half=False) - activation_bytes(three, text, half=False)
    told = activation_bytes(four, text, half=False, recomputed=True) + logit_bytes(text.predicted, IDS.size)
    assert told == pytest.approx(found + one_layer, rel=0.2), (found + one_layer) / told


def test_no_more_logits_are_kept_than_of_one_part() -> None:
    assert logit_bytes(65_536, 50_257) == 10 * MOST_LOGITS < 10 * 65_536 * 50_257
    assert logit_bytes(10, 100) == 10_000


def test_the_dry_run_has_room_for_the_denoiser_with_the_longest_targets() -> None:
    fields = {"family": "fred-t5", "layers": 2, "hidden": 64, "heads": 2, "max_length": 128}
    recipe = {"out": "x", "model": fields, "objective": "denoising", "length": 128, "train": {"max_steps": 1}}
    mixed, longest = (
        run_costs(PretrainConfig.model_validate({**recipe, "batch_tokens": 4096, "denoisers": denoisers}))
        for denoisers in ("fred-t5", [{"prefix": "<SC4>", "mean_span": 3.0, "rate": 0.5}])
    )
    assert mixed.model.activations == pytest.approx(longest.model.activations, rel=0.01)
    assert mixed.text.targets < longest.text.targets and mixed.model.flops_per_text < longest.model.flops_per_text


@pytest.mark.parametrize(("family", "vocabulary", "sizes", "millions"), PUBLISHED)
def test_costs_of_published_sizes(family: str, vocabulary: int, sizes: dict[str, int], millions: float) -> None:
    shape = Shape.model_validate({"family": family, "max_length": 512, **sizes})
    model = build(shape, TokenIds(vocabulary, bos=1, eos=2, cls=1, sep=2), device="meta")
    found = costs(model, shape, TextSize(512, 77), texts=8, optimizer="adamw", precision="bf16")
    assert found.weights + found.gradients + found.state == 16.0 * found.parameters
    # 6 FLOPs per token and parameter outside the tables, at the very least; attention and head come on top.
    body = found.parameters - 2 * found.in_embeddings if "t5" in family else found.parameters - found.in_embeddings
    if "t5" not in family:
        assert 6.0 * 0.95 * body * 512 < found.flops_per_text < 10.0 * body * 512
