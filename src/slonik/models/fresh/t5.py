"""A fresh T5 version 1.1, or FRED-T5: encoder and decoder, relative position buckets, gated GELU, a head of its own.

Sources: Raffel et al. (2020) and the released v1.1 configs; FRED-T5's published config (same shape, activation
gelu_new, begin and end tokens of its BPE). Stock Transformers class, which ties the head of every fresh T5 to its
embeddings; here they are parted, as in v1.1 and FRED-T5 (`tie_word_embeddings: false`).
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel, T5Config, T5ForConditionalGeneration

from slonik.models.fresh.shape import Shape, TokenIds


def t5(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random T5 v1.1."""
    return _build(shape, ids, {"feed_forward_proj": "gated-gelu"})


def fred_t5(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random FRED-T5."""
    return _build(shape, ids, {"feed_forward_proj": "gated-gelu", "bos_token_id": ids.bos})


def _build(shape: Shape, ids: TokenIds, family: dict[str, object]) -> PreTrainedModel:
    values = {
        "vocab_size": ids.size,
        "d_model": shape.hidden,
        "d_kv": shape.head_size or shape.hidden // shape.heads,
        "d_ff": shape.neurons,
        "num_layers": shape.layers,
        "num_decoder_layers": shape.decoder_layers or shape.layers,
        "num_heads": shape.heads,
        "n_positions": shape.max_length,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "dropout_rate": shape.dropout,
        "tie_word_embeddings": False,
        "pad_token_id": ids.pad,
        "eos_token_id": ids.eos,
        "decoder_start_token_id": ids.pad,
    }
    model = T5ForConditionalGeneration(T5Config(**{**values, **family, **shape.options}))
    return _with_its_own_head(model, shape.hidden)


def _with_its_own_head(model: T5ForConditionalGeneration, hidden: int) -> PreTrainedModel:
    """Part the head from the embeddings; the deviation 1/sqrt(hidden) makes first logits of size one, for v1.1 does
    not scale the decoder's output."""
    weight = torch.empty_like(model.shared.weight)
    if not weight.is_meta:
        nn.init.normal_(weight, std=hidden**-0.5)
    model.lm_head.weight = nn.Parameter(weight)
    return model
