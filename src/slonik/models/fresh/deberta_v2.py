"""A fresh DeBERTa-v2: content and relative position in separate vectors, attention of each to the other.

Source: He et al., "DeBERTa" (2021), section 3, and the v2 code: logarithmic position buckets, one projection for
content and positions. The stock Transformers class puts absolute positions nowhere when `position_biased_input` is
off, so the paper's enhanced mask decoder (absolute positions just before the softmax) is not in it. A convolution
after the first layer (v2 xlarge) is switched on by `options: {conv_kernel_size: 3, conv_act: gelu}`.
"""

from __future__ import annotations

from transformers import DebertaV2Config, DebertaV2ForMaskedLM, PreTrainedModel

from slonik.models.fresh.shape import Shape, TokenIds, encoder_fields


def deberta_v2(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random DeBERTa-v2."""
    values = {
        **encoder_fields(shape, ids),
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "position_buckets": min(256, shape.max_length // 2),
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
        "hidden_dropout_prob": shape.dropout,
        "attention_probs_dropout_prob": shape.dropout,
        "bos_token_id": ids.cls,
        "eos_token_id": ids.sep,
    }
    return DebertaV2ForMaskedLM(DebertaV2Config(**{**values, **shape.options}))
