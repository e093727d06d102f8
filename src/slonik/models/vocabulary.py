"""Models with another vocabulary: whose id is whose, rows of new tokens, a student that takes a teacher's trimmed one.

Does not: build vocabularies (see `slonik.text.tokenizers`). V tokens of a vocabulary, D dimensions.

Source of the rows of new tokens: Kuratov and Arkhipov, "Adaptation of Deep Bidirectional Multilingual Transformers for
Russian Language" (RuBERT, 2019), section 3: a token that is new starts as the mean of the old tokens that it was cut
into. The same serves whole words added to a vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.models.encoder import TorchEncoder


def change_vocabulary(model: Any, sources: Sequence[Sequence[int]], special_ids: dict[str, int]) -> None:
    """Replace the embedding table (and the head's) of `model` in place; the body is left as it is.

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


_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id")


def matching_ids(student: TorchEncoder, teacher: TorchEncoder, *, narrower: bool = False) -> NDArray[np.int64]:
    """(V,) the teacher's id of each of the student's tokens.

    Args:
        narrower: the student may have fewer dimensions, and which of the teacher's they are is known.

    Raises:
        SlonikError: another dimension, or tokens that the teacher does not have.
    """
    if student.hidden_size != teacher.hidden_size and not narrower:
        raise SlonikError(
            f"{student.name} has {student.hidden_size} dimensions and {teacher.name} {teacher.hidden_size}: "
            "token-level distillation needs equal ones"
        )
    tokens, known = student.tokenizer.get_vocab(), teacher.tokenizer.get_vocab()
    missing = [token for token in tokens if token not in known]
    if missing:
        raise SlonikError(
            f"{len(missing)} tokens of {student.name} are not in the vocabulary of {teacher.name}, for example "
            f"{missing[0]!r}: take a student with the teacher's vocabulary or a trimmed part of it"
        )
    ids = np.zeros(max(tokens.values()) + 1, dtype=np.int64)
    for token, number in tokens.items():
        ids[number] = known[token]
    return ids


def with_vocabulary_of(student: TorchEncoder, trimmed: TorchEncoder) -> TorchEncoder:
    """A copy of `student` that segments as `trimmed` does; `student` itself where it does already.

    A token that the student knows keeps the student's row, one that it does not starts as the teacher's row, moved by
    how far the student's rows have moved from the teacher's on average.

    Args:
        trimmed: the teacher after its vocabulary was cut; of the student's dimension.

    Raises:
        SlonikError: another dimension, or no token in common.
    """
    if student.tokenizer.to_str() == trimmed.tokenizer.to_str():
        return student
    own, others = student.model.get_input_embeddings().weight, trimmed.model.get_input_embeddings()
    if own.shape[1] != others.weight.shape[1]:
        raise SlonikError(
            f"{student.name} has {own.shape[1]} dimensions and {trimmed.name} {others.weight.shape[1]}: start from a "
            "student with the teacher's width, or give `trim: null` to keep the student's own vocabulary"
        )
    model = copy.deepcopy(student.model)
    table = nn.Embedding(others.num_embeddings, others.embedding_dim, padding_idx=others.padding_idx)
    table.weight.data = _rows(own.detach(), others.weight.detach(), _shared(student, trimmed))
    model.set_input_embeddings(table)
    model.config.vocab_size = len(table.weight)
    for name in _SPECIAL:
        if hasattr(trimmed.model.config, name):
            setattr(model.config, name, getattr(trimmed.model.config, name))
    return TorchEncoder(
        model, trimmed.tokenizer, student.sentence, student.passport, name=student.name, source=student.source
    )


def _shared(student: TorchEncoder, trimmed: TorchEncoder) -> tuple[Tensor, Tensor]:
    """(K,) ids of the tokens in both vocabularies: the student's, and those of `trimmed`."""
    known = student.tokenizer.get_vocab()
    pairs = [(known[token], number) for token, number in trimmed.tokenizer.get_vocab().items() if token in known]
    if not pairs:
        raise SlonikError(f"{student.name} and {trimmed.name} have no token in common: they share no origin")
    first, second = zip(*pairs, strict=True)
    return torch.tensor(first), torch.tensor(second)


def _rows(own: Tensor, others: Tensor, shared: tuple[Tensor, Tensor]) -> Tensor:
    """(V, D) rows of the new table."""
    here, there = shared
    rows = others + (own[here] - others[there]).mean(0)
    rows[there] = own[here]
    return rows
