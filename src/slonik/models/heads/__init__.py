"""Heads: from hidden states to the outputs of a task.

A head is an `nn.Module` made by `Head(dimension, outputs, **options)` and called with the hidden states
(B, T, D), or (B, R, T, D) where an example has R inputs, and the batch of fields that `slonik.text.pairs` made. It
returns logits (or numbers); probabilities and losses are made elsewhere. Lookup by kind is the dict below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import nn

from slonik.core.errors import SlonikError, lookup
from slonik.models.heads.texts import AnswerHead, ChoiceHead, PairHead, SequenceHead, WordsHead
from slonik.models.heads.tokens import TokenHead
from slonik.text.task_config import TaskConfig

HeadClass: TypeAlias = Callable[..., nn.Module]

HEADS: dict[str, HeadClass] = {
    "sequence": SequenceHead,
    "pair": PairHead,
    "words": WordsHead,
    "choice": ChoiceHead,
    "answer": AnswerHead,
    "tokens": TokenHead,
}


def build_head(dimension: int, config: TaskConfig) -> nn.Module:
    """A fresh head for `config` on an encoder of `dimension`; its random weights come from torch's current state.

    Raises:
        SlonikError: unknown kind, or options that this head does not have.
    """
    make = lookup(config.kind, HEADS, "kind of head")
    try:
        return make(dimension, config.outputs, **config.head)
    except TypeError as error:
        raise SlonikError(f"the head {config.kind!r} cannot be made with the options {config.head}: {error}") from None
