"""Heads: from hidden states to the outputs of a task.

A head is an `nn.Module` made by `Head(dimension, outputs, **options)`, or of a family's own class (`stock`), and called
with the hidden states (B, T, D), or (B, R, T, D) where an example has R inputs, and the batch of fields that
`slonik.text.pairs` made. It returns logits (or numbers); probabilities and losses are made elsewhere. Lookup by kind is
the dict below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import nn
from transformers import PreTrainedConfig

from slonik.core.errors import SlonikError, lookup
from slonik.models.heads.stock import new_stock_head
from slonik.models.heads.tokens import TokenHead
from slonik.models.modeling_slonik_heads import TEXT_HEADS
from slonik.text.task_config import TaskConfig

HeadClass: TypeAlias = Callable[..., nn.Module]

HEADS: dict[str, HeadClass] = {**TEXT_HEADS, "tokens": TokenHead}


def build_head(encoder: PreTrainedConfig, config: TaskConfig) -> nn.Module:
    """A fresh head for `config` on an encoder; its random weights come from torch's current state.

    Args:
        encoder: the config of its transformer: the size of its vectors, and for a stock head its family.

    Raises:
        SlonikError: unknown kind, or options that this head does not have.
    """
    make = lookup(config.kind, HEADS, "kind of head")
    if config.shape == "stock":
        return new_stock_head(encoder, config)
    try:
        return make(int(encoder.hidden_size), config.outputs, **config.head)
    except TypeError as error:
        raise SlonikError(f"the head {config.kind!r} cannot be made with the options {config.head}: {error}") from None
