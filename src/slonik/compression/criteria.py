"""Importance of the structures of a model: criteria, each one `score(model, batches, loss_fn, kinds) -> Scores`.

Three of them are gradients by gates, one row per example, from one backward pass: the loss of example i depends on row
i of the gates alone, so the gradient of the summed losses by a (B, n) gate is the stack of the examples' own gradients.
The model runs in eval mode (no dropout), its weights take no gradient, and both are put back as they were. Because rows
never mix, scores do not depend on the batch size.
Does not: make batches and losses (see `importance`), or decide what goes (see `choose`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from slonik.compression.gates import KINDS, Gates, gated, open_gates
from slonik.compression.shape import ModelShape, shape_of
from slonik.core.errors import SlonikError
from slonik.models.anatomy import Body, LayerParts, dissect, stream_norms

FloatVector = NDArray[np.float64]
Batch = Mapping[str, Tensor]
LossFunction = Callable[[PreTrainedModel, Batch], Tensor]
"""(model, batch) -> loss of every example (B,), or several losses of every example (P, B). The model is to be run on
all B examples at once, in their order; twice where an example has two texts."""


@dataclass(frozen=True)
class Scores:
    """Higher is more important; comparable within one kind, and between kinds where the criterion says so.

    Attributes:
        criterion: name of the function that made them.
        shape: the scored model's shape.
        examples: how many examples were averaged.
        heads: per layer, (H,). ffn: per layer, (F,). layers: (L,). hidden: (D,). None: not scored.
        head_losses, ffn_losses: per layer, (H + 1,) and (F + 1,) what it costs if so many stay, in the unit of
            `layers`; None: the sum of the scores of those that go.
        before: loss of the model as it is, where losses were measured.
    """

    criterion: str
    shape: ModelShape
    examples: int
    heads: tuple[FloatVector, ...] | None = None
    ffn: tuple[FloatVector, ...] | None = None
    layers: FloatVector | None = None
    hidden: FloatVector | None = None
    head_losses: tuple[FloatVector, ...] | None = None
    ffn_losses: tuple[FloatVector, ...] | None = None
    before: float | None = None

    def with_losses(
        self, layers: FloatVector, heads: tuple[FloatVector, ...], ffn: tuple[FloatVector, ...], *, before: float = 0.0
    ) -> Scores:
        """The same order within each layer, with losses of one unit over all kinds: `ablation.Original.removed`."""
        layers = np.asarray(layers, dtype=np.float64)
        return replace(self, layers=layers, head_losses=heads, ffn_losses=ffn, before=before)


def taylor(
    model: PreTrainedModel, batches: Iterable[Batch], loss_fn: LossFunction, kinds: Collection[str] = KINDS
) -> Scores:
    """First-order Taylor importance: |sum over a structure's weights of w * dL/dw|, averaged over examples.

    A structure's weights here are those through which it writes: a head's columns of the attention's output projection,
    a neuron's column of the last feed-forward matrix, a layer's two output projections with their biases, a hidden
    dimension's scale and shift in every norm. Removing the structure sets exactly these to zero, so the sum is the
    first-order change of the loss. (Weights further in, such as a head's value rows, would count the same removal
    twice.)

    Because what a structure writes is linear in these weights, y = sum_k w_k x_k, the sum of w * dL/dw equals the
    gradient by a gate g at g = 1 that multiplies y: dL/dg = <y, dL/dy> = sum_k w_k <x_k, dL/dy> = sum_k w_k dL/dw_k.
    That is how it is computed; the tests compare it with the sum over weights. Absolute values are taken per example,
    so examples that pull in opposite directions do not cancel, and the score is the same at any batch size.

    Args:
        batches: dicts of tensors, first axis = examples. loss_fn: loss of every example, see `LossFunction`.

    Raises:
        SlonikError: no examples, or a loss without any gradient.
    """
    return average(
        "taylor", model, batches, loss_fn, kinds, of=Tensor.abs, sources={"layers": "branches"}, kept_statistics=False
    )


def gate(
    model: PreTrainedModel, batches: Iterable[Batch], loss_fn: LossFunction, kinds: Collection[str] = KINDS
) -> Scores:
    """Mean over examples of |dL/dgate|; heads and neurons have L2 norm 1 within each layer.

    The gate of a layer lets the layer's input pass, the gate of a hidden dimension takes it out of the norms'
    statistics: both are what cutting does. Source: Michel et al. (2019), "Are Sixteen Heads Really Better than One?",
    section 4.1; the absolute value is per example and nothing accumulates between batches, unlike in the script that
    went with Transformers.

    Raises:
        SlonikError: no examples, or a loss without any gradient.
    """
    raw = average("gate", model, batches, loss_fn, kinds, of=Tensor.abs)
    return replace(raw, heads=_unit(raw.heads), ffn=_unit(raw.ffn))


def fisher(
    model: PreTrainedModel, batches: Iterable[Batch], loss_fn: LossFunction, kinds: Collection[str] = KINDS
) -> Scores:
    """Mean over examples of the squared gate gradient.

    With the probe loss of `slonik.train.objectives.closeness` (a random direction of the sentence vector) this is the
    diagonal of the Gauss-Newton matrix: the expected squared movement of the vector when a structure is taken out, to
    second order. It needs no label and, unlike a distance to the original's vectors, does not vanish at the original.

    Source: the diagonal mask Fisher of Kwon et al. (2022), "A Fast Post-Training Pruning Framework for Transformers".

    Raises:
        SlonikError: no examples, or a loss without any gradient.
    """
    return average("fisher", model, batches, loss_fn, kinds, of=Tensor.square)


def magnitude(
    model: PreTrainedModel,
    batches: Iterable[Batch] = (),
    loss_fn: LossFunction | None = None,
    kinds: Collection[str] = KINDS,
) -> Scores:
    """L2 norm of the weights through which a structure writes: a control that looks at no data.

    `batches` and `loss_fn` are not used; the signature is every criterion's.
    """
    body = dissect(model)
    return Scores(
        criterion="magnitude",
        shape=shape_of(model, body),
        examples=0,
        heads=tuple(_head_norms(layer) for layer in body.layers) if "heads" in kinds else None,
        ffn=tuple(_column_norms(layer.outer) for layer in body.layers) if "ffn" in kinds else None,
        layers=_layer_norms(body) if "layers" in kinds else None,
        hidden=_hidden_norms(body) if "hidden" in kinds else None,
    )


def random(
    model: PreTrainedModel,
    batches: Iterable[Batch] = (),
    loss_fn: LossFunction | None = None,
    kinds: Collection[str] = KINDS,
    *,
    seed: int = 0,
) -> Scores:
    """Uniform scores, equal for equal seeds: the control that any other criterion must beat.

    `batches` and `loss_fn` are not used.
    """
    rng = np.random.default_rng(seed)
    shape = shape_of(model)
    sizes = shape.sizes
    return Scores(
        criterion="random",
        shape=shape,
        examples=0,
        heads=tuple(rng.random(count) for count in sizes.heads) if "heads" in kinds else None,
        ffn=tuple(rng.random(count) for count in sizes.ffn) if "ffn" in kinds else None,
        layers=rng.random(shape.depth) if "layers" in kinds else None,
        hidden=rng.random(sizes.hidden) if "hidden" in kinds else None,
    )


CRITERIA = {"taylor": taylor, "gate": gate, "fisher": fisher, "magnitude": magnitude, "random": random}


def average(
    name: str,
    model: PreTrainedModel,
    batches: Iterable[Batch],
    loss_fn: LossFunction,
    kinds: Collection[str],
    *,
    of: Callable[[Tensor], Tensor],
    sources: Mapping[str, str] | None = None,
    kept_statistics: bool = True,
) -> Scores:
    """Scores that are the mean over examples of `of(gradient)`.

    Args:
        kinds: of gates.KINDS. of: elementwise, abs or square.
        sources: the gates whose gradient scores a kind, where it is not the kind's own.

    Raises:
        SlonikError: an unknown kind, no examples, or gradients that are all zero.
    """
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise SlonikError(f"there are no {unknown[0]!r} to score: kinds are {', '.join(KINDS)}")
    by = {kind: (sources or {}).get(kind, kind) for kind in kinds}
    totals: dict[str, list[Tensor]] = {}
    examples = 0
    for found in example_gradients(model, batches, loss_fn, tuple(by.values()), kept_statistics=kept_statistics):
        examples += next(iter(found.values()))[0].shape[0]
        for kind, source in by.items():
            sums = [of(gradient.double()).sum(0) for gradient in found[source]]
            totals[kind] = [old + new for old, new in zip(totals[kind], sums, strict=True)] if kind in totals else sums
    if not examples:
        raise SlonikError("there are no examples to score structures on: give some texts")
    means = {kind: [(value / examples).cpu().numpy() for value in values] for kind, values in totals.items()}
    if not any(value.any() for values in means.values() for value in values):
        raise SlonikError(
            "the loss has no gradient anywhere: a distance to the model's own output is smallest at the model itself. "
            "Use the fisher criterion with a probe of the embedding, or another loss"
        )
    return Scores(
        criterion=name,
        shape=shape_of(model),
        examples=examples,
        heads=tuple(means["heads"]) if "heads" in means else None,
        ffn=tuple(means["ffn"]) if "ffn" in means else None,
        layers=means["layers"][0] if "layers" in means else None,
        hidden=means["hidden"][0] if "hidden" in means else None,
    )


def example_gradients(
    model: PreTrainedModel,
    batches: Iterable[Batch],
    loss_fn: LossFunction,
    kinds: Collection[str],
    *,
    kept_statistics: bool,
) -> Iterator[dict[str, list[Tensor]]]:
    """Per batch and loss: kind (of gates.KINDS and "branches") -> gradients by its gates, each (B, n).

    Raises:
        SlonikError: a loss that is not one number per example.
    """
    body = dissect(model)
    with scoring(model):
        for batch in batches:
            examples = _examples(batch)
            moved = {name: value.to(model.device) for name, value in batch.items()}
            gates = open_gates(body, kinds, examples=examples, requires_grad=True, kept_statistics=kept_statistics)
            with torch.enable_grad(), gated(model, gates):
                losses = loss_fn(model, moved)
            if losses.shape[-1:] != (examples,) or losses.dim() > 2:
                raise SlonikError(
                    f"the loss has shape {tuple(losses.shape)}; it must be ({examples},), one per example"
                )
            rows = losses if losses.dim() == 2 else losses[None]
            for index, row in enumerate(rows):
                yield _gradients(row, gates, kinds, keep=index + 1 < len(rows))


@contextmanager
def scoring(model: PreTrainedModel) -> Iterator[None]:
    """Eval mode and no gradients by weights inside the block."""
    was_training = model.training
    needed = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in needed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        model.train(was_training)
        for parameter in needed:
            parameter.requires_grad_(True)


def _examples(batch: Batch) -> int:
    sizes = {int(value.shape[0]) for value in batch.values()}
    if len(sizes) != 1:
        raise SlonikError(f"the tensors of a batch have different first axes: {sorted(sizes)}")
    return sizes.pop()


def _gradients(losses: Tensor, gates: Gates, kinds: Collection[str], keep: bool) -> dict[str, list[Tensor]]:
    tensors = {kind: gates.tensors(kind) for kind in kinds}
    flat = [tensor for group in tensors.values() for tensor in group]
    gradients = iter(torch.autograd.grad(losses.sum(), flat, retain_graph=keep, allow_unused=True))
    return {
        kind: [torch.zeros_like(tensor) if (one := next(gradients)) is None else one for tensor in group]
        for kind, group in tensors.items()
    }


def _unit(layers: tuple[FloatVector, ...] | None) -> tuple[FloatVector, ...] | None:
    if layers is None:
        return None
    return tuple(values / (np.linalg.norm(values) + 1e-20) for values in layers)


def _column_norms(linear: Any) -> FloatVector:
    """Norm of the weights that each input of a linear map goes through."""
    weight = linear.weight.detach().double()
    norms: FloatVector = weight.norm(dim=1 if isinstance(linear, Conv1D) else 0).cpu().numpy()
    return norms


def _head_norms(layer: LayerParts) -> FloatVector:
    squares = torch.from_numpy(_column_norms(layer.context)).square().view(layer.heads, layer.head_size)
    norms: FloatVector = squares.sum(1).sqrt().numpy()
    return norms


def _layer_norms(body: Body) -> FloatVector:
    norms = []
    for layer in body.layers:
        squares = [(parameter.detach().double() ** 2).sum() for part in (layer.context, layer.outer) for parameter in
                   part.parameters()]  # fmt: skip
        norms.append(torch.stack(squares).sum().sqrt())
    found: FloatVector = torch.stack(norms).cpu().numpy()
    return found


def _hidden_norms(body: Body) -> FloatVector:
    squares = torch.zeros(body.hidden, dtype=torch.float64)
    for _, norm in stream_norms(body):
        for parameter in norm.parameters():
            squares += parameter.detach().double().cpu() ** 2
    norms: FloatVector = squares.sqrt().numpy()
    return norms
