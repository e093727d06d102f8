"""A fresh LTG-BERT: disentangled attention with a shared projection, GeGLU, extra norms; see `modeling_ltg_bert`.

Source: Samuel et al., "Trained on 100 million words and still in shape" (2023), section 2. An own class, for
Transformers has none.
"""

from __future__ import annotations

from transformers import PreTrainedModel

from slonik.models import ltg_bert as own
from slonik.models.fresh.shape import Shape, TokenIds, encoder_fields
from slonik.models.modeling_ltg_bert import LtgBertConfig, LtgBertForMaskedLM


def ltg_bert(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random LTG-BERT."""
    values = {
        **encoder_fields(shape, ids),
        "position_bucket_size": min(32, shape.max_length // 2),
        "hidden_dropout_prob": shape.dropout,
        "attention_probs_dropout_prob": shape.dropout,
    }
    own.register()
    config = LtgBertConfig(**{**values, **shape.options})
    config.auto_map = own.auto_map()
    return LtgBertForMaskedLM(config)
