"""One score per candidate of an example: multiple choice (PARus), cloze by ranking (RuCoS).

Every candidate is a row of its own, encoded with its context; the scores of an example compete in a softmax, so any
number of candidates will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import torch
from torch import Tensor, nn

from slonik.models.heads.pair import FeatureLayer, LayerOptions, relation, relation_groups
from slonik.models.heads.sequence import Pooling, masked_mean, pooled

NO_CANDIDATE = -1e4
"""Score of a padding row; finite, so that a softmax over it stays a number."""


class ChoiceHead(nn.Module):
    """Scores of candidates.

    Args:
        dimension: D of the encoder.
        outputs: 1; a candidate has one score.
        pooling: of a row.
        relations: features of the relation of context and candidate within the row, beside the row's vector.
        layer: options of the `FeatureLayer`.
    """

    def __init__(
        self,
        dimension: int,
        outputs: int = 1,
        *,
        pooling: Pooling = "mean",
        relations: bool = False,
        **layer: Unpack[LayerOptions],
    ) -> None:
        super().__init__()
        if outputs != 1:
            raise TypeError(f"a candidate has one score, not {outputs}")
        self.pooling: Pooling = pooling
        self.relations = relations
        groups = [dimension, *relation_groups(dimension)] if relations else [dimension]
        self.layer = FeatureLayer(groups, 1, **layer)

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, R, T, D) -> scores (B, R); rows that are padding get NO_CANDIDATE."""
        features = pooled(hidden, batch["attention_mask"], self.pooling)
        if self.relations:
            segments = batch["segments"]
            first, second = masked_mean(hidden, segments == 1), masked_mean(hidden, segments == 2)
            features = torch.cat([features, relation(first, second)], dim=-1)
        scores = self.layer(features).squeeze(-1)
        return scores.masked_fill(~batch["candidates"], NO_CANDIDATE)
