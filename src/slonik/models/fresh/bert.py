"""A fresh BERT: learned absolute positions, two segment types, post-norm; with the next-sentence head if asked for.

Source: Devlin et al., "BERT" (2019), section 3. Stock Transformers classes.
"""

from __future__ import annotations

from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, PreTrainedModel

from slonik.models.fresh.shape import Shape, TokenIds


def bert(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random BERT."""
    values = {
        "vocab_size": ids.size,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.neurons,
        "max_position_embeddings": shape.max_length,
        "type_vocab_size": 2,
        "hidden_dropout_prob": shape.dropout,
        "attention_probs_dropout_prob": shape.dropout,
        "pad_token_id": ids.pad,
    }
    config = BertConfig(**{**values, **shape.options})
    return BertForPreTraining(config) if shape.next_sentence else BertForMaskedLM(config)
