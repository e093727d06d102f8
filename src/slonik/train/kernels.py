"""What a model's layers run on while it is trained: which attention, compiled or not, computed once or twice, and how
matrices are multiplied. Put back afterwards.

What is computed stays the same; which precision it is computed in is the loop's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import compile_friendly_flex_attention
from transformers.masking_utils import flex_attention_mask

from slonik.core.errors import SlonikError

FLEX = "flex_attention"
"""Transformers' name of torch's flex attention."""
FLEX_BIASED = "slonik_flex_attention"
"""Ours, for T5 and GPT-2."""
_BIASED = ("t5", "mt5", "gpt2")
_DROPPED = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop", "dropout_rate")


def flex_with_bias(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: BlockMask | None,
    *,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Flex attention with T5's position bias: added where scores are computed, a table (1, H, T, S) for all rows.

    Transformers' own function reads the table by the number of the row, beyond its end. The attention of T5's decoder
    to the encoder, whose table is zeros, goes without; so does GPT-2, whose class Transformers does not let at it.

    Args:
        query: (B, H, T, D). key, value: (B, H, S, D).
        attention_mask: which blocks are computed; None = all.

    Returns:
        (B, T, H, D), and no weights.
    """
    crossing = getattr(module, "is_decoder", False) and not getattr(module, "is_causal", True)

    def biased(score: Tensor, _row: Tensor, head: Tensor, asks: Tensor, read: Tensor) -> Tensor:
        assert position_bias is not None
        return score + position_bias[0, head, asks, read]

    mixed = compile_friendly_flex_attention(
        query, key, value, training=module.training, block_mask=attention_mask, scale=scaling,
        score_mod=None if position_bias is None or crossing else biased,
    )  # fmt: skip
    assert isinstance(mixed, Tensor)
    return mixed.transpose(1, 2).contiguous(), None


AttentionInterface.register(FLEX_BIASED, flex_with_bias)
AttentionMaskInterface.register(FLEX_BIASED, flex_attention_mask)


@contextmanager
def fast_attention(
    model: nn.Module, device: torch.device, *, bf16: bool, flex: bool = False, drops: bool = True
) -> Iterator[None]:
    """Within the block fused attention on a CPU in bf16 gives way to the plain one, and to flex attention where that is
    asked for; others are left alone.

    In bfloat16 on a CPU the backward pass of torch's fused attention (sdpa) falls back to unblocked products and takes
    more time than two encoder layers: at 128 texts of 16 tokens through 6 layers of 384, a third of the whole step; at
    512 and 1,024 tokens a text a fifth. The plain three-product attention runs on batched bf16 kernels.

    Args:
        model: a Transformers model or any module with such models in it (a task model, a tagger). Transformers' layers
            look the implementation up in their config at every call, so it is the configs that are written to
            (`set_attn_implementation` silently refuses classes whose source file does not spell the function out).
        flex: computes only the blocks of a packed row in which tokens see one another.
        drops: the model is trained with dropout.

    Raises:
        SlonikError: flex attention on a CPU, whose backward pass torch lacks there; of a model that drops attention out
            or has none of that kind.
    """
    if flex:
        _check_flex(model, device, drops=drops)
    fused = _fused_configs(model) if flex or (device.type == "cpu" and bf16) else []
    for config in fused:
        config._attn_implementation = _flex_of(config) if flex else "eager"
    try:
        yield
    finally:
        for config in fused:
            config._attn_implementation = "sdpa"


def _check_flex(model: nn.Module, device: torch.device, *, drops: bool) -> None:
    if device.type == "cpu":
        raise SlonikError("train.attention is flex, which trains on a GPU only: set it to auto on a processor")
    fused = _fused_configs(model)
    if not fused or not all(map(_takes_flex, model.modules())):
        raise SlonikError(f"train.attention is flex, which {type(model).__name__} does not take: set it to auto")
    names = [name for config in fused for name in _DROPPED if drops and bool(getattr(config, name, False))]
    if names:
        raise SlonikError(
            f"train.attention is flex, which drops nothing out, and the model has {names[0]}: train with dropout "
            "false, make a model without it, or set attention to auto"
        )


def _takes_flex(part: nn.Module) -> bool:
    """Whether the class says so: T5's does in Transformers 5.23 and not in 5.10; GPT-2's does not, and takes ours."""
    kind = getattr(getattr(part, "config", None), "model_type", "")
    return kind == "gpt2" or bool(getattr(part, "_supports_flex_attn", True))


def _flex_of(config: Any) -> str:
    """Which of the two kinds of flex attention a model of this config takes."""
    return FLEX_BIASED if getattr(config, "model_type", "") in _BIASED else FLEX


def _fused_configs(model: nn.Module) -> list[Any]:
    found = {id(config): config for part in model.modules() if (config := getattr(part, "config", None)) is not None}
    return [config for config in found.values() if getattr(config, "_attn_implementation", None) == "sdpa"]


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """The items of every list of two or more modules of one class: the layers of a transformer, outermost only."""
    found: list[nn.Module] = []
    inside: set[int] = set()
    for part in model.modules():
        if id(part) in inside or not isinstance(part, nn.ModuleList):
            continue
        if len(part) > 1 and len({type(item) for item in part}) == 1:
            found += list(part)
            inside |= {id(deeper) for item in part for deeper in item.modules()}
    return found


@contextmanager
def compiled_layers(model: nn.Module, *, on: bool) -> Iterator[None]:
    """Within the block the repeated blocks of `model` run through torch.compile, in place; afterwards as before.

    Any objective may call any part. Compiling one block serves all its copies, which takes seconds instead of the
    minutes of a whole model; embeddings and heads stay as they are, and so do the names of parameters.
    """
    blocks = repeated_blocks(model) if on else []
    for block in blocks:
        block.compile()
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None


@contextmanager
def recomputed_layers(model: nn.Module, *, on: bool) -> Iterator[None]:
    """Within the block the repeated blocks of `model` keep their inputs alone for the gradient, and are computed once
    more on the way back, dropout included: a third more work, and the memory of one block instead of all.

    Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016).
    """
    blocks = repeated_blocks(model) if on else []
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the class's own stands below it


@contextmanager
def fast_products(device: torch.device, *, exact: bool) -> Iterator[None]:
    """Within the block what is left in single precision on a GPU is multiplied in TF32 (10 bits of mantissa, as fp16),
    unless `exact`: beside bf16 and fp16 it decides nothing, and the plain way is eight times slower on an A100."""
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda" and not exact:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
