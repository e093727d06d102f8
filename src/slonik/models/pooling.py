"""From token vectors to one vector per text, on tensors, and the part of a model that gives them.

A checkpoint's own way, with all that stands behind its pooling, is `slonik.models.pipeline`'s. Normalisation is the
caller's. Shapes: B texts, T tokens, D dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from slonik.models.modeling_slonik_heads import mean_pool

POOLINGS = ("cls", "mean", "last", "pooler")
LAYER_POOLINGS = ("mean", "cls", "last")
"""Those that every layer has."""


def reading_part(model: PreTrainedModel) -> Any:
    """The module that turns token ids into hidden states: the encoder of an encoder-decoder, else the model itself."""
    return model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model


def pool(hidden: Tensor, mask: Tensor, kind: str, pooler_output: Tensor | None = None) -> Tensor:
    """Pool token vectors.

    Args:
        hidden: last hidden states (B, T, D), padded on the right.
        mask: (B, T), 1 for tokens, 0 for padding.
        kind: "mean" over tokens that are not padding (specials included, as in RuSentEval), "cls" (the first token),
            "last" (the last token that is not padding), or "pooler".
        pooler_output: (B, D), the model's own head; needed for "pooler".

    Returns:
        (B, D) float32, not normalised.
    """
    if kind == "cls":
        return hidden[:, 0].float()
    if kind == "mean":
        return mean_pool(hidden, mask)
    if kind == "last":
        ends = mask.sum(1).clamp_min(1) - 1
        return hidden[torch.arange(len(hidden), device=hidden.device), ends].float()
    if kind == "pooler" and pooler_output is not None:
        return pooler_output.float()
    raise ValueError(f"cannot pool by {kind!r}: known are {POOLINGS}, and 'pooler' needs a model that has one")
