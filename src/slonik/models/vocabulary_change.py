"""Give a language model another vocabulary: every new piece starts as the mean of old ones.

Source: Kuratov and Arkhipov, "Adaptation of Deep Bidirectional Multilingual Transformers for Russian Language"
(RuBERT, 2019), section 3: a piece that is new starts as the mean of the old pieces it was cut into. The same
serves whole words added to a vocabulary. The body of the model is left as it is. V new pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slonik.core.errors import SlonikError


def change_vocabulary(model: Any, sources: Sequence[Sequence[int]], special_ids: dict[str, int]) -> None:
    """Replace the embedding table (and the head's) of `model` in place.

    Args:
        sources: for each new id the old ids whose mean it starts as; none = the mean of the whole table.
        special_ids: config fields (`pad_token_id`, ...) -> new ids.

    Raises:
        SlonikError: a RoBERTa-like model whose padding id would move: its positions are counted from it.
    """
    positions = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(positions, "padding_idx", None)
    if padding is not None and special_ids.get("pad_token_id", padding) != padding:
        raise SlonikError(
            f"models of the family {model.config.model_type} count positions from their padding id {padding}, the new "
            f"vocabulary pads with {special_ids['pad_token_id']}: train a tokenizer whose padding token has that id"
        )
    old_words = model.get_input_embeddings().weight.detach()
    table = nn.Embedding(len(sources), old_words.shape[1], padding_idx=special_ids.get("pad_token_id"))
    with torch.no_grad():
        table.weight.copy_(_means(old_words, sources))
    old_head = model.get_output_embeddings()
    tied = old_head is not None and old_head.weight is model.get_input_embeddings().weight
    model.set_input_embeddings(table)
    if old_head is not None:
        head = nn.Linear(old_head.in_features, len(sources), bias=old_head.bias is not None)
        with torch.no_grad():
            head.weight.copy_(_means(old_head.weight.detach(), sources))
            if old_head.bias is not None:
                head.bias.copy_(_means(old_head.bias.detach()[:, None], sources)[:, 0])
        if tied:
            head.weight = table.weight
        model.set_output_embeddings(head)
    model.config.vocab_size = len(sources)
    for name, value in special_ids.items():
        setattr(model.config, name, value)
    model.tie_weights()


def _means(table: Tensor, sources: Sequence[Sequence[int]]) -> Tensor:
    """(V, D) means of the rows of (old V, D)."""
    everything = table.mean(0)
    return torch.stack([table[list(ids)].mean(0) if len(ids) else everything for ids in sources])
