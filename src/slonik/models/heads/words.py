"""Marked spans to labels: a word in two contexts (RUSSE), two mentions that may be one (RWSD).

Span vectors are the means of the span's tokens, as in Peters et al. 2019 for words in context and in the SuperGLUE
baselines (Wang et al. 2019) for coreference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import torch
from torch import Tensor, nn

from slonik.models.heads.pair import FeatureLayer, LayerOptions, relation, relation_groups
from slonik.models.heads.sequence import Pooling, pooled


def span_vectors(hidden: Tensor, spans: Tensor) -> Tensor:
    """Means of each span's tokens: (B, T, D) or (B, R, T, D), spans (B, K, 3) -> (B, K, D); zeros for empty ones."""
    if hidden.dim() == 3:
        hidden = hidden.unsqueeze(1)
    rows = spans[..., 0, None, None].expand(-1, -1, hidden.shape[2], hidden.shape[3])
    chosen = hidden.float().gather(1, rows)  # (B, K, T, D)
    places = torch.arange(hidden.shape[2], device=hidden.device)
    inside = (places >= spans[..., 1, None]) & (places < spans[..., 2, None])  # (B, K, T)
    weights = inside.to(torch.float32).unsqueeze(-2)
    return (weights @ chosen).squeeze(-2) / weights.sum(-1).clamp_min(1.0)


class WordsHead(nn.Module):
    """Classification of two marked spans by the relation of their vectors.

    Args:
        dimension: D of the encoder.
        outputs: labels.
        whole: the vector of the whole (first) input is a feature too.
        pooling: of that vector.
        layer: options of the `FeatureLayer`.
    """

    def __init__(
        self,
        dimension: int,
        outputs: int,
        *,
        whole: bool = False,
        pooling: Pooling = "mean",
        **layer: Unpack[LayerOptions],
    ) -> None:
        super().__init__()
        self.whole = whole
        self.pooling: Pooling = pooling
        groups = relation_groups(dimension)
        self.layer = FeatureLayer([dimension, *groups] if whole else groups, outputs, **layer)

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D) or (B, R, T, D) with `spans` (B, 2, 3) -> logits (B, outputs)."""
        vectors = span_vectors(hidden, batch["spans"])
        features = relation(vectors[:, 0], vectors[:, 1])
        if self.whole:
            sentence = pooled(hidden, batch["attention_mask"], self.pooling)
            features = torch.cat([sentence if sentence.dim() == 2 else sentence.mean(1), features], dim=-1)
        logits: Tensor = self.layer(features)
        return logits
