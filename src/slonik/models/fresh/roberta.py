"""A fresh RoBERTa: BERT's encoder without segments and without next sentence; positions begin behind the padding id.

Source: Liu et al., "RoBERTa" (2019), sections 2 to 5. The rest of its difference is data and training: dynamic masks,
other input formats, byte-level BPE, large batches. Stock Transformers classes.
"""

from __future__ import annotations

from transformers import PreTrainedModel, RobertaConfig, RobertaForMaskedLM

from slonik.models.fresh.shape import Shape, TokenIds, encoder_fields


def roberta(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random RoBERTa."""
    values = {
        **encoder_fields(shape, ids),
        "max_position_embeddings": shape.max_length + ids.pad + 1,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "hidden_dropout_prob": shape.dropout,
        "attention_probs_dropout_prob": shape.dropout,
        "bos_token_id": ids.bos,
        "eos_token_id": ids.eos,
    }
    return RobertaForMaskedLM(RobertaConfig(**{**values, **shape.options}))
