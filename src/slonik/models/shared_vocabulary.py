"""Vocabularies that are parts of one: whose id is whose, and a student that takes a newly trimmed teacher's.

A piece that such a student knows keeps the student's row, one that it does not starts as the teacher's row, moved by
how far the student's rows have moved from the teacher's on average.
Does not: build vocabularies (see `slonik.text.tokenizers`), or invent rows for pieces that nobody has (see
`vocabulary_change`). V pieces, D dimensions.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.models.encoder import TorchEncoder

_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id")


def matching_ids(student: TorchEncoder, teacher: TorchEncoder) -> NDArray[np.int64]:
    """(V,) the teacher's id of each of the student's pieces.

    Raises:
        SlonikError: another dimension, or pieces that the teacher does not have.
    """
    if student.dimension != teacher.dimension:
        raise SlonikError(
            f"{student.name} has {student.dimension} dimensions and {teacher.name} {teacher.dimension}: "
            "token-level distillation needs equal ones"
        )
    pieces, known = student.tokenizer.get_vocab(), teacher.tokenizer.get_vocab()
    missing = [piece for piece in pieces if piece not in known]
    if missing:
        raise SlonikError(
            f"{len(missing)} pieces of {student.name} are not in the vocabulary of {teacher.name}, for example "
            f"{missing[0]!r}: take a student with the teacher's vocabulary or a trimmed part of it"
        )
    ids = np.zeros(max(pieces.values()) + 1, dtype=np.int64)
    for piece, number in pieces.items():
        ids[number] = known[piece]
    return ids


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
