"""Attention weights of any family, which its fused implementation does not give.

Transformers' fused attention (sdpa) gives no weights but an empty tuple: attention is switched to the eager
implementation for the pass and back. A family that still gives nothing is an error, never an empty result.

Shapes: B texts, H heads, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.models.anatomy import dissect
from slonik.models.pooling import reading_part


def attention_weights(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    """Attention of the reading part of `model` over a batch, ids and mask (B, T): per layer (B, H, T, T).

    Rows sum to 1 over the tokens that a row may see. Heads may differ in number by layer.

    Raises:
        SlonikError: a family that is not in the anatomy table, or one that gives no weights.
    """
    layers = len(dissect(model).layers)
    with torch.no_grad(), eager_attention(model):
        output = reading_part(model)(input_ids=ids, attention_mask=mask, output_attentions=True)
    weights = tuple(getattr(output, "attentions", None) or ())
    if len(weights) != layers:
        raise SlonikError(
            f"{type(model).__name__} gave attention weights of {len(weights)} layers out of {layers}: its class cannot "
            "show them with this version of transformers"
        )
    return weights


@contextmanager
def eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block attention weights are computed openly; afterwards every config is as it was.

    The setting is written to the configs directly: `set_attn_implementation` refuses classes whose own source file does
    not spell the attention function out, which is so for our uneven-shape ones, and then goes on without a change.
    """
    configs: dict[int, Any] = {id(model.config): model.config}
    for module in model.modules():
        if (config := getattr(module, "config", None)) is not None and hasattr(config, "_attn_implementation"):
            configs[id(config)] = config
    used = {key: config._attn_implementation for key, config in configs.items()}
    for config in configs.values():
        config._attn_implementation = "eager"
    try:
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = used[key]
