"""How much every head matters: by gradients, by the pruner's own scores, and by leaving it out; and do they agree.

Criteria are those of `slonik.compression.criteria`: `gate` is Michel et al. (2019): the mean over texts of |dL/dgate|,
absolute per text (the script that went with Transformers let texts cancel each other), scaled to length 1 within a
layer. A text is the unit throughout: with a [CLS] vector the last layer has gradient at one position only, so dividing
every layer by the number of tokens, as that script does, would make it look idle. `left_out` closes one head and
measures what happens: it is the reference, at one pass per head.

The loss needs no labels: for gradients random directions of the sentence vector
(`slonik.train.objectives.closeness.probe_loss`), for leaving out and for the masking curve 1 - cosine to the whole
model's sentence vector, centred: a shift common to all texts is no loss. Shapes: B texts, L layers, H heads (may differ
by layer).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from slonik.compression.criteria import CRITERIA
from slonik.compression.gates import gated, open_gates
from slonik.core.errors import SlonikError
from slonik.core.progress import shown, track
from slonik.core.records import Record
from slonik.evaluation.long_texts import warn_cut
from slonik.evaluation.statistics import Spearman, value_of
from slonik.inspection import inspection_record, source_hashes
from slonik.inspection.inputs import BATCH, Texts, batches, open_transformer, texts_of
from slonik.inspection.intervals import mean_interval
from slonik.models.anatomy import dissect
from slonik.models.encoder import TorchEncoder
from slonik.models.pooling import reading_part
from slonik.train.objectives.closeness import probe_loss

Scores = tuple[NDArray[np.float64], ...]
"""Per layer, (H,)."""
LEFT_OUT = "left_out"
ORDERS = ("gate", "fisher", "taylor", "magnitude", LEFT_OUT, "random")


@dataclass(frozen=True)
class HeadImportance:
    """How much every head of a model matters.

    Attributes:
        model: its name. texts: how many texts it was measured on.
        scores: order -> importance of every head, higher = more important.
        curves: records of the loss against heads removed, for every order.
        hashes: of the texts and the weights.
    """

    model: str
    texts: int
    scores: dict[str, Scores]
    curves: tuple[Record, ...]
    hashes: dict[str, str] = field(default_factory=dict)

    @property
    def correlations(self) -> dict[tuple[str, str], float]:
        """Spearman's correlation of every two orders over all heads; NaN where one is constant."""
        flat = {name: np.concatenate(layers) for name, layers in self.scores.items()}
        return {(a, b): value_of(Spearman(flat[a], flat[b])) for a in flat for b in flat}

    @property
    def records(self) -> list[Record]:
        """Importance of every head (layers from 1, heads from 0), correlations of the orders, and masking curves."""
        record = partial(inspection_record, self.model, n=self.texts, hashes=self.hashes)
        records = [
            record(f"head_{head:02d}", order, "importance", float(value), layer=index)
            for order, layers in self.scores.items()
            for index, layer in enumerate(layers, 1)
            for head, value in enumerate(layer)
        ]
        for (first, second), value in self.correlations.items():
            known = None if math.isnan(value) else value
            detail = {"against": second}
            records.append(record(f"heads_against_{second}", first, "rank_correlation", known, detail=detail))
        return [*records, *(point.model_copy(update={"hashes": self.hashes}) for point in self.curves)]


def head_importance(
    model: str | Path | TorchEncoder,
    texts: Texts = None,
    *,
    orders: Sequence[str] = ORDERS,
    prefix: str | None = None,
    steps: int = 10,
    progress: bool = False,
) -> HeadImportance:
    """How much every head matters, by several orders, and what is lost when heads go in each of them.

    Args:
        model: a folder, a hub id, `embedded:NAME`, or a loaded transformer.
        texts: what it is measured on: a file, or texts; None = 64 Russian sentences of our own.
        orders: of ORDERS. prefix: before each text, None = the encoder's own. steps: of the masking curve.
        progress: show it on standard error.

    Raises:
        SlonikError: no transformer, an unknown order, fewer than two texts, or a family without known anatomy.
    """
    encoder, sample = open_transformer(model), texts_of(texts)
    warn_cut(encoder, sample, prefix)
    with shown(progress):
        heads = Heads(encoder, sample, prefix=prefix)
        scores = {order: heads.scores(order) for order in orders}
        curves = [point for order, layers in scores.items() for point in heads.curve(order, layers, steps=steps)]
    return HeadImportance(encoder.name, len(sample), scores, tuple(curves), source_hashes(encoder, sample))


class Heads:
    """Importance of the heads of one encoder on some texts.

    Args:
        encoder: the model with its pooling. texts: what importance is measured on.
        prefix: before each text, None = the encoder's own.

    Raises:
        SlonikError: fewer than two texts, or a family that the anatomy table does not know.
    """

    def __init__(self, encoder: TorchEncoder, texts: Sequence[str], *, prefix: str | None = None) -> None:
        if len(texts) < 2:
            raise SlonikError("importance of heads needs at least two texts")
        self._encoder = encoder
        self._body = dissect(encoder.model)
        self._batches = list(batches(encoder, texts, BATCH, prefix))
        self._whole = self._vectors(None)

    @property
    def counts(self) -> tuple[int, ...]:
        """Heads per layer."""
        return self._body.heads

    def scores(self, name: str) -> Scores:
        """Importance by one of ORDERS, higher = more important.

        Raises:
            SlonikError: an unknown criterion.
        """
        if name == LEFT_OUT:
            return self.left_out()
        if name not in CRITERIA:
            raise SlonikError(f"unknown order of heads {name!r} (known: {', '.join(ORDERS)})")
        center = F.normalize(torch.from_numpy(self._whole), dim=-1).mean(0).to(self._encoder.device)
        inner = probe_loss(self._pool, center=center)

        def loss(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Tensor:
            return inner(reading_part(model), batch)

        given = [{"input_ids": ids, "attention_mask": mask} for ids, mask in self._batches]
        found = CRITERIA[name](self._encoder.model, given, loss, {"heads"}).heads
        assert found is not None
        return tuple(np.asarray(layer, dtype=np.float64) for layer in found)

    def left_out(self) -> Scores:
        """Mean loss when one head is closed, for each head."""
        found = [np.zeros(count) for count in self.counts]
        places = [(layer, head) for layer, count in enumerate(self.counts) for head in range(count)]
        for layer, head in track(places, "leaving heads out"):
            found[layer][head] = float(self.loss_without({(layer, head)}).mean())
        return tuple(found)

    def loss_without(self, closed: set[tuple[int, int]]) -> NDArray[np.float64]:
        """(B,) loss of every text with these (layer, head) closed, counted from 0."""
        vectors = self._vectors(closed)
        left, right = (part - part.mean(0) for part in (self._whole, vectors))
        norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        return np.maximum(1.0 - (left * right).sum(1) / np.maximum(norms, 1e-12), 0.0)  # rounding may go below

    def curve(self, order: str, scores: Scores, *, steps: int = 10) -> list[Record]:
        """Mean loss over texts against heads removed, the least important first; every layer may lose all of them."""
        places = [(layer, head) for layer, count in enumerate(self.counts) for head in range(count)]
        rank = sorted(places, key=lambda place: (scores[place[0]][place[1]], place))
        points = []
        for removed in sorted({round(len(rank) * step / steps) for step in range(steps + 1)}):
            losses = self.loss_without(set(rank[:removed]))
            low, high = mean_interval(losses, seed=0, sample="heads")
            points.append(
                inspection_record(
                    self._encoder.name, f"without_{removed:03d}_heads", order, "masked_loss", float(losses.mean()),
                    low=float(low), high=float(high), n=len(losses),
                    detail={"removed": removed, "share": removed / len(rank)},
                )
            )  # fmt: skip
        return points

    def _vectors(self, closed: set[tuple[int, int]] | None) -> NDArray[np.float64]:
        """Unit sentence vectors (B, D)."""
        model = self._encoder.model
        gates = open_gates(self._body, {"heads"})
        assert gates.heads is not None
        for layer, head in closed or ():
            gates.heads[layer][head] = 0.0
        found = []
        with torch.inference_mode(), gated(model, gates):
            for ids, mask in self._batches:
                hidden = reading_part(model)(input_ids=ids, attention_mask=mask)[0]
                found.append(F.normalize(self._pool(hidden, mask), dim=-1).double().cpu().numpy())
        return np.concatenate(found)

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        vectors: Tensor = self._encoder.pipeline.unnormalised(hidden, mask)
        return vectors
