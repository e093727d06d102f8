"""Give an earlier student the vocabulary of a newly trimmed teacher, so that it can be trained on.

Both vocabularies are parts of one: a piece that the student knows keeps the student's row, one that it does not starts
as the teacher's row, moved by how far the student's rows have moved from the teacher's on average.
Does not: build vocabularies (see `slonik.tokenizers`), or invent rows for pieces that nobody has (see
`vocabulary_change`). V pieces, D dimensions.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.models.encoder import TorchEncoder

_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id")


def with_vocabulary_of(student: TorchEncoder, trimmed: TorchEncoder) -> TorchEncoder:
    """A copy of `student` that segments as `trimmed` does; `student` itself where it does already.

    Args:
        trimmed: the teacher after its vocabulary was cut; of the student's dimension.

    Raises:
        SlonikError: another dimension, or no piece in common.
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
    """(K,) ids of the pieces in both vocabularies: the student's, and those of `trimmed`."""
    known = student.tokenizer.get_vocab()
    pairs = [(known[piece], number) for piece, number in trimmed.tokenizer.get_vocab().items() if piece in known]
    if not pairs:
        raise SlonikError(f"{student.name} and {trimmed.name} have no piece in common: they share no origin")
    first, second = zip(*pairs, strict=True)
    return torch.tensor(first), torch.tensor(second)


def _rows(own: Tensor, others: Tensor, shared: tuple[Tensor, Tensor]) -> Tensor:
    """(V, D) rows of the new table."""
    here, there = shared
    rows = others + (own[here] - others[there]).mean(0)
    rows[there] = own[here]
    return rows
