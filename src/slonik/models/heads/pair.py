"""Two texts to labels: the means of both texts' tokens, their difference and product, beside the whole input's vector.

Texts encoded jointly give means that have seen each other; encoded apart they give the vectors that a sentence encoder
was trained for. The features [u, v, |u - v|, u * v] are those of InferSent (Conneau et al. 2017) and help encoders
whose first token was never trained to hold a relation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from slonik.models.heads.sequence import Pooling, masked_mean, pooled


def relation(first: Tensor, second: Tensor) -> Tensor:
    """[u, v, |u - v|, u * v, cos]: (..., D), (..., D) -> (..., 4 D + 1)."""
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=-1).unsqueeze(-1)
    return torch.cat([first, second, (first - second).abs(), first * second, cosine], dim=-1)


def relation_groups(dimension: int) -> list[int]:
    """Sizes of the features that `relation` makes of two vectors of `dimension`, for `FeatureLayer`."""
    return [dimension] * 4 + [1]


def text_vectors(hidden: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """Means of both texts' tokens (B, D) each: of one joint row (B, T, D), or of two rows (B, 2, T, D)."""
    if hidden.dim() == 4:
        means = masked_mean(hidden, segments == 1)
        return means[:, 0], means[:, 1]
    return masked_mean(hidden, segments == 1), masked_mean(hidden, segments == 2)


class LayerOptions(TypedDict, total=False):
    """Options that heads pass on to their `FeatureLayer`, which says what they mean."""

    hidden: int
    dropout: float
    balance: bool


class FeatureLayer(nn.Module):
    """Dropout and a linear layer, or one hidden GELU layer between, from features to outputs.

    Args:
        groups: sizes of the groups of features, one after another (vectors, differences, a cosine).
        outputs: labels or 1.
        hidden: width of the hidden layer; 0 = none.
        dropout: before each linear layer.
        balance: bring every feature to mean 0 and deviation 1 over the training examples, and every group to the same
            length, so that a cosine weighs as much as a vector. For encoders that are not trained: their vectors
            share most of their length and direction.
    """

    scale: Tensor | None

    def __init__(
        self, groups: Sequence[int], outputs: int, *, hidden: int = 0, dropout: float = 0.1, balance: bool = False
    ) -> None:
        super().__init__()
        features = sum(groups)
        self.norm = nn.BatchNorm1d(features, affine=False, momentum=None) if balance else None
        scale = torch.cat([torch.full((size,), size**-0.5) for size in groups]) if balance else None
        self.register_buffer("scale", scale, persistent=False)
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(features, hidden), nn.GELU(), nn.Dropout(dropout)]
        self.stack = nn.Sequential(*layers, nn.Linear(hidden or features, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """(..., features) -> (..., outputs)."""
        if self.norm is not None and self.scale is not None:
            flat = features.flatten(0, -2)
            single = len(flat) == 1  # one example has no deviation: take what was seen so far
            norm = self.norm
            flat = nn.functional.batch_norm(flat, norm.running_mean, norm.running_var) if single else norm(flat)
            features = flat.reshape(features.shape) * self.scale
        made: Tensor = self.stack(features)
        return made.float()


class PairHead(nn.Module):
    """Classification of two texts by the relation of their vectors.

    Args:
        dimension: D of the encoder.
        outputs: labels, or 1.
        pooling: of the whole joint input, whose vector is a feature too; not used for texts encoded apart.
        layer: options of the `FeatureLayer`.
    """

    def __init__(
        self, dimension: int, outputs: int, *, pooling: Pooling = "cls", **layer: Unpack[LayerOptions]
    ) -> None:
        super().__init__()
        self.pooling: Pooling = pooling
        self.layer = FeatureLayer([dimension, *relation_groups(dimension)], outputs, **layer)

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D) of joint rows or (B, 2, T, D) of texts apart -> logits (B, outputs)."""
        first, second = text_vectors(hidden, batch["segments"])
        if hidden.dim() == 4:
            whole = (first + second) / 2
        else:
            whole = pooled(hidden, batch["attention_mask"], self.pooling)
        logits: Tensor = self.layer(torch.cat([whole, relation(first, second)], dim=-1))
        return logits
