"""What taking structures out costs, measured: one unit for layers, heads and neurons, so that a budget can weigh them.

A criterion ranks heads among heads and neurons among neurons of one layer; its sums say nothing about a layer, nor a
sum over heads about one over neurons (Taylor scores add up absolute values that cancel in truth, so that a layer looks
several times dearer head by head than whole). Here groups are switched off and the vectors looked at: each layer alone,
and in each layer the least heads or neurons by the criterion's order, at a few counts. Between two counts the loss runs
along the criterion's scores.

The loss of a cut: mean over N texts of |s - t|^2 for unit vectors s (cut) and t (the original's), both centred on their
mean and made unit again: 2 - 2 x centred cosine. What is kept here is how much it grows by the cut. Centred, because a
shift common to all texts, which the last layers of E5 make, is the first thing that training mends.

Shapes: L layers, H heads, F neurons of a layer, B texts, T tokens, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from slonik.compression.criteria import Batch, FloatVector, Scores, scoring
from slonik.compression.gates import Gates, gated
from slonik.compression.replay import Replay
from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar
from slonik.models.anatomy import Body, dissect

Pool = Callable[[Tensor, Tensor], Tensor]
KEPT_SHARES = (0.75, 0.5, 0.25)
"""Shares of the heads or neurons of a layer that stay when it is measured; and as few as may stay."""


@dataclass(frozen=True)
class Removed:
    """Losses of taking parts out of a model, each part alone.

    Attributes:
        before: loss of the model as it is against the original, 0 where it is the original.
        layers: (L,) how much more without the layer.
        heads: per layer, (H + 1,) how much more by the number of heads that stay; [H] is 0. ffn: (F + 1,) likewise.
    """

    before: float
    layers: FloatVector
    heads: tuple[FloatVector, ...]
    ffn: tuple[FloatVector, ...]


class Original:
    """Unit sentence vectors of the model that is cut, on some texts.

    Args:
        model: uncut. batches: dicts with input_ids and attention_mask. pool: hidden states and mask to vectors.

    Raises:
        SlonikError: no texts.
    """

    def __init__(self, model: PreTrainedModel, batches: Sequence[Batch], pool: Pool) -> None:
        if not batches:
            raise SlonikError("there are no texts to compare models on: give some")
        self.batches, self.pool = list(batches), pool
        self._vectors = _centred(self.vectors(model))

    def vectors(self, model: PreTrainedModel) -> Tensor:
        """Unit vectors (N, D) of the texts."""
        with scoring(model), torch.inference_mode():
            states = [
                model.base_model(**{name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")})[0]
                for batch in self.batches
            ]
            return self._pooled(states, [batch["attention_mask"].to(model.device) for batch in self.batches])

    def loss(self, vectors: Tensor) -> float:
        """Mean squared distance of centred unit vectors (N, D) to the original's; of similarities where D differs."""
        ours, theirs = _centred(vectors), self._vectors
        if ours.shape == theirs.shape:
            return float((ours - theirs).square().sum(-1).mean())
        return float(((ours @ ours.T) - (theirs @ theirs.T)).square().mean()) * len(ours)

    def removed(self, model: PreTrainedModel, scores: Scores, least_ffn: int = 1) -> Removed:
        """Measure every part of `model`, the original or what is left of it.

        Args:
            scores: order the heads and neurons of each layer. least_ffn: as few neurons as a layer may keep.
        """
        return _Ablation(self, model, scores, least_ffn).measured()

    def _pooled(self, states: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        return F.normalize(
            torch.cat([self.pool(state, mask) for state, mask in zip(states, masks, strict=True)]).float(), dim=-1
        )

    def loss_of_states(self, body: Body, states: Sequence[Tensor], masks: Sequence[Tensor]) -> float:
        """The loss of what the last layer puts out."""
        if path := body.anatomy.final_norm:
            norm = body.base.get_submodule(path)
            states = [norm(state) for state in states]
        return self.loss(self._pooled(states, masks))


class _Ablation:
    """Parts of one model switched off, one after another; what lies before a part is computed once."""

    def __init__(self, original: Original, model: PreTrainedModel, scores: Scores, least_ffn: int) -> None:
        self._original, self._scores, self._least_ffn = original, scores, least_ffn
        self._model, self._body = model, dissect(model)
        self._replay = Replay(self._body, original.batches)

    def measured(self) -> Removed:
        layers, heads, ffn = [], [], []
        states = list(self._replay.starts)
        with scoring(self._model), torch.inference_mode():
            before = self._original.loss_of_states(self._body, self._replay.ends, self._replay.masks)
            with progress_bar(
                "measuring what layers, heads and neurons are worth", total=len(self._body.layers)
            ) as bar:
                for layer, parts in enumerate(self._body.layers):
                    layers.append(max(0.0, self._rest(layer + 1, states) - before))
                    sizes = {"heads": (parts.heads, 1), "ffn": (parts.ffn, min(self._least_ffn, parts.ffn))}
                    found = {kind: self._curve(kind, layer, *size, states, before) for kind, size in sizes.items()}
                    heads.append(found["heads"])
                    ffn.append(found["ffn"])
                    states = self._step(layer, states)
                    bar.advance()
        return Removed(before, np.array(layers), tuple(heads), tuple(ffn))

    def _curve(
        self, kind: str, layer: int, size: int, least: int, states: Sequence[Tensor], before: float
    ) -> FloatVector:
        """Loss by the number that stays; below the least that was measured, as there."""
        scored = getattr(self._scores, kind)
        losses = np.zeros(size + 1)
        if scored is None or size <= least:
            return losses
        order = np.argsort(scored[layer], kind="stable")  # the first go first
        sums = np.concatenate([[0.0], np.cumsum(np.maximum(scored[layer][order], 0) + 1e-12)])  # of the n that went
        counts = sorted({max(least, round(share * size)) for share in KEPT_SHARES} | {least}, reverse=True)
        points = [(0, 0.0)]
        for count in counts:
            gone = torch.from_numpy(order[: size - count].copy())
            with gated(self._model, self._gates(kind, layer, gone)):
                after = self._step(layer, states)
            points.append((size - count, max(self._rest(layer + 1, after) - before, points[-1][1])))
        removed = [number for number, _ in points]
        along = np.interp(sums, sums[removed], [loss for _, loss in points])
        losses[:] = along[::-1]  # by what stays
        return losses

    def _gates(self, kind: str, layer: int, gone: Tensor) -> Gates:
        like = self._body.words.weight
        sizes = self._body.heads if kind == "heads" else self._body.ffn
        gates = [torch.ones(size, device=like.device, dtype=like.dtype) for size in sizes]
        gates[layer][gone] = 0
        return Gates(heads=tuple(gates)) if kind == "heads" else Gates(ffn=tuple(gates))

    def _step(self, layer: int, states: Sequence[Tensor]) -> list[Tensor]:
        return [self._replay.run(layer, number, state) for number, state in enumerate(states)]

    def _rest(self, layer: int, states: Sequence[Tensor]) -> float:
        """The loss when `states` enter `layer` and go on to the end."""
        after = list(states)
        for later in range(layer, len(self._body.layers)):
            after = self._step(later, after)
        return self._original.loss_of_states(self._body, after, self._replay.masks)


def _centred(vectors: Tensor) -> Tensor:
    return F.normalize(vectors - vectors.mean(0), dim=-1)
