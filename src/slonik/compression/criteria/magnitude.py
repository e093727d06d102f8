"""Magnitude: the L2 norm of the weights through which a structure writes. A control that looks at no data."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from slonik.compression.criteria.gradients import Batch, LossFunction
from slonik.compression.gates import KINDS
from slonik.compression.scores import FloatVector, Scores
from slonik.compression.shape import shape_of
from slonik.models.anatomy import Body, LayerParts, dissect, stream_norms


def magnitude(
    model: PreTrainedModel,
    batches: Iterable[Batch] = (),
    loss_fn: LossFunction | None = None,
    kinds: Collection[str] = KINDS,
) -> Scores:
    """Score `kinds`; `batches` and `loss_fn` are not used (the signature is every criterion's)."""
    body = dissect(model)
    return Scores(
        criterion="magnitude",
        shape=shape_of(model, body),
        examples=0,
        heads=tuple(_heads(layer) for layer in body.layers) if "heads" in kinds else None,
        ffn=tuple(_columns(layer.outer) for layer in body.layers) if "ffn" in kinds else None,
        layers=_layers(body) if "layers" in kinds else None,
        hidden=_hidden(body) if "hidden" in kinds else None,
    )


def _columns(linear: Any) -> FloatVector:
    """Norm of the weights that each input of a linear map goes through."""
    weight = linear.weight.detach().double()
    norms: FloatVector = weight.norm(dim=1 if isinstance(linear, Conv1D) else 0).cpu().numpy()
    return norms


def _heads(layer: LayerParts) -> FloatVector:
    squares = torch.from_numpy(_columns(layer.context)).square().view(layer.heads, layer.head_size)
    norms: FloatVector = squares.sum(1).sqrt().numpy()
    return norms


def _layers(body: Body) -> FloatVector:
    norms = []
    for layer in body.layers:
        squares = [(parameter.detach().double() ** 2).sum() for part in (layer.context, layer.outer) for parameter in
                   part.parameters()]  # fmt: skip
        norms.append(torch.stack(squares).sum().sqrt())
    found: FloatVector = torch.stack(norms).cpu().numpy()
    return found


def _hidden(body: Body) -> FloatVector:
    squares = torch.zeros(body.hidden, dtype=torch.float64)
    for _, norm in stream_norms(body):
        for parameter in norm.parameters():
            squares += parameter.detach().double().cpu() ** 2
    norms: FloatVector = squares.sqrt().numpy()
    return norms
