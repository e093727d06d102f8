"""A fresh LTG-BERT: disentangled attention with a shared projection, GeGLU, extra norms; see `modeling_ltg_bert`.

Source: Samuel et al., "Trained on 100 million words and still in shape" (2023), section 2. An own class, for
Transformers has none.
"""

from __future__ import annotations

from transformers import PreTrainedModel

from slonik.models import ltg_bert as own
from slonik.models.fresh.shape import Shape, TokenIds
from slonik.models.modeling_ltg_bert import LtgBertConfig, LtgBertForMaskedLM


def ltg_bert(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random LTG-BERT."""
    values = {
        "vocab_size": ids.size,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.neurons,
        "max_position_embeddings": shape.max_length,
        "position_bucket_size": min(32, shape.max_length // 2),
        "hidden_dropout_prob": shape.dropout,
        "attention_probs_dropout_prob": shape.dropout,
        "pad_token_id": ids.pad,
    }
    own.register()
    config = LtgBertConfig(**{**values, **shape.options})
    config.auto_map = own.auto_map()
    return LtgBertForMaskedLM(config)
