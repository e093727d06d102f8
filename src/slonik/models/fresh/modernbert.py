"""A fresh ModernBERT: rotary positions, GeGLU, pre-norm, no biases; two of three layers look at a window only.

Source: Warner et al., "Smarter, Better, Faster, Longer" (2024), section 2.1. Stock Transformers class. Its window and
the period of global layers are `options: {local_attention: 128, global_attn_every_n_layers: 3}`.
"""

from __future__ import annotations

from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedModel

from slonik.models.fresh.shape import Shape, TokenIds, encoder_fields


def modernbert(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random ModernBERT."""
    values = {
        **encoder_fields(shape, ids),
        "local_attention": 128,
        "embedding_dropout": shape.dropout,
        "attention_dropout": shape.dropout,
        "mlp_dropout": shape.dropout,
        "bos_token_id": ids.cls,
        "eos_token_id": ids.sep,
        "cls_token_id": ids.cls,
        "sep_token_id": ids.sep,
    }
    return ModernBertForMaskedLM(ModernBertConfig(**{**values, **shape.options}))
