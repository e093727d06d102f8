"""One vector per example to labels or a number: sequence classification, pairs encoded jointly, regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

Pooling = Literal["mean", "cls"]


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of token vectors where `mask` is not 0: (..., T, D), (..., T) -> (..., D), float32; zeros where none is."""
    weights = (mask != 0).to(torch.float32).unsqueeze(-2)  # (..., 1, T)
    total = (weights @ hidden.float()).squeeze(-2)
    return total / weights.sum(-1).clamp_min(1.0)


def pooled(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """(..., T, D) -> (..., D), float32: mean of the tokens that are not padding, or the first token."""
    return hidden[..., 0, :].float() if pooling == "cls" else masked_mean(hidden, mask)


class SequenceHead(nn.Module):
    """Pooling, dropout, a linear layer; optionally a tanh layer between, as in BERT's pooler.

    The mean of tokens is the default: the models at hand are sentence encoders trained with it, and most carry no
    pooler; a pooler that is made anew needs more data than small tasks have.

    Args:
        dimension: D of the encoder.
        outputs: labels, or 1.
        pooling: "mean" or "cls".
        dropout: on the pooled vector.
        dense: put a dense tanh layer before the last one.
    """

    def __init__(
        self, dimension: int, outputs: int, *, pooling: Pooling = "mean", dropout: float = 0.1, dense: bool = False
    ) -> None:
        super().__init__()
        self.pooling: Pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(dimension, dimension) if dense else None
        self.output = nn.Linear(dimension, outputs)

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D) or (B, R, T, D) -> logits (B, outputs); R inputs of an example are averaged."""
        vectors = pooled(hidden, batch["attention_mask"], self.pooling)
        if vectors.dim() == 3:
            vectors = vectors.mean(1)
        if self.dense is not None:
            vectors = torch.tanh(self.dense(self.dropout(vectors)))
        logits: Tensor = self.output(self.dropout(vectors))
        return logits.float()
