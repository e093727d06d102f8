"""Attention that becomes one ONNX node, for every family that goes through transformers' attention interface.

The function below stands in for sdpa while a model is being exported: instead of a dozen primitive operators it
leaves one `com.microsoft::MultiHeadAttention`, which onnxruntime runs as a single kernel. The mask is a float bias
(B, 1, T, T) computed once per forward pass; on this kernel a bias is as fast as no mask at all, while its
padding-mask input costs a conversion in every layer. Nothing here can be run in torch: parity is checked on files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, bidirectional_mask_function, eager_mask

NAME = "slonik_onnx"


def onnx_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """One MultiHeadAttention node for query, key and value (B, H, T, d); gives (B, T, H, d).

    Args:
        module: unused; the interface passes the layer.
        attention_mask: additive bias (B or 1, 1 or H, T, T), or None.
        scaling: factor of the scores; None = 1/sqrt(d).
        kwargs: `position_bias`, an additive bias of T5's kind; the rest is unused.
    """
    batch, heads, length, size = query.shape
    bias = kwargs.get("position_bias")
    if bias is None:
        bias = attention_mask
    elif attention_mask is not None:
        bias = bias + attention_mask
    mixed: Tensor = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        [_rows(query), _rows(key), _rows(value), None, None, bias],
        {"num_heads": heads, "scale": float(scaling if scaling is not None else size**-0.5)},
        dtype=query.dtype,
        shape=(batch, length, heads * size),
        version=1,
    )
    return mixed.reshape(batch, length, heads, size), None


def bias_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    attention_mask: Tensor | None = None,
    mask_function: Any = None,
    dtype: torch.dtype = torch.float32,
    **kwargs: Any,
) -> Tensor | None:
    """Additive mask (B, 1, T, T); the common two-sided case in five operators instead of twenty."""
    plain = mask_function is bidirectional_mask_function and not kwargs.get("use_vmap")
    if plain and attention_mask is not None and attention_mask.dim() == 2:
        away = (attention_mask.to(dtype) - 1.0) * -torch.finfo(dtype).min
        return away[:, None, None, :].expand(-1, 1, q_length, -1)
    return eager_mask(
        batch_size=batch_size,
        q_length=q_length,
        kv_length=kv_length,
        attention_mask=attention_mask,
        mask_function=mask_function,
        dtype=dtype,
        **kwargs,
    )


def _rows(tensor: Tensor) -> Tensor:
    batch, heads, length, size = tensor.shape
    return tensor.transpose(1, 2).reshape(batch, length, heads * size)


@contextmanager
def exporting(model: PreTrainedModel) -> Iterator[None]:
    """Switch `model` to `onnx_attention` inside the block; a family that cannot be switched runs its eager code."""
    AttentionInterface.register(NAME, onnx_attention)
    AttentionMaskInterface.register(NAME, bias_mask)
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation(NAME if getattr(model, "_supports_sdpa", False) else "eager")
        yield
    finally:
        model.set_attn_implementation(before)
