"""A fresh BERT: learned absolute positions, two segment types, post-norm; with the next-sentence head if asked for.

Source: Devlin et al., "BERT" (2019), section 3. Stock Transformers classes.
"""

from __future__ import annotations

from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, PreTrainedModel

from slonik.models.fresh.shape import Shape, TokenIds, encoder_fields


def bert(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random BERT."""
    values = {
        **encoder_fields(shape, ids),
        "type_vocab_size": 2,
        "hidden_dropout_prob": shape.dropout,
        "attention_probs_dropout_prob": shape.dropout,
    }
    config = BertConfig(**{**values, **shape.options})
    return BertForPreTraining(config) if shape.next_sentence else BertForMaskedLM(config)
