"""Mend a cut model by least squares: every kept layer's last matrix is fitted to what the parent computes there.

Closed form, no training: kept layer by kept layer, with the cut model's own activations, so that later layers make up
for what earlier ones still miss. Where layers were dropped behind a kept one, its target is the output of the last
dropped layer, so that one layer stands in for several as far as a linear map can. Where only heads or neurons were cut,
the target is the same layer's output. Distillation starts from a much better place; it is not replaced.

What is fitted is the sum of the residual stream and the last matrix's output; families that norm this sum (BERT and
kin) take over the norm of the target layer as well. Idea: least-squares reconstruction of Kwon et al. (2022) and ZipLM
(2023), here over whole blocks.

Shapes: N tokens that are not padding, F neurons, D hidden dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slonik.compress.criteria.gradients import Batch, scoring
from slonik.compress.plan import Plan
from slonik.core.errors import SlonikError
from slonik.core.progress import track
from slonik.models.anatomy import Body, dissect


def refit(
    model: PreTrainedModel, parent: PreTrainedModel, plan: Plan, batches: Iterable[Batch], *, ridge: float = 1e-3
) -> None:
    """Change the last feed-forward matrices (and output norms) of `model` in place.

    Args:
        model: `surgery.apply(parent, plan)`. parent: what it was cut from; its vocabulary may be larger if the plan
            keeps no list of tokens and `batches` are in ids of both.
        batches: dicts with input_ids and attention_mask, some thousand tokens in all, more than neurons.
        ridge: pull towards the present weights, as a share of the mean squared activation.

    Raises:
        SlonikError: no texts, or a model that is not of the plan's shape.
    """
    batches = list(batches)
    ours, theirs = dissect(model), dissect(parent)
    if not batches:
        raise SlonikError("there are no texts to fit layers to")
    if ours.heads != tuple(len(kept) for kept in plan.heads) or ours.ffn != tuple(len(kept) for kept in plan.ffn):
        raise SlonikError("the model to mend does not have the plan's shape")
    ends = [*(layer - 1 for layer in plan.layers[1:]), len(theirs.layers) - 1]
    with scoring(model), scoring(parent), torch.no_grad():
        targets = [_outputs(theirs, ends, batch) for batch in batches]
        for index, end in track(list(enumerate(ends)), "fitting layers"):
            _fit_layer(ours, theirs, plan, _Place(index, end, ridge), batches, [each[index] for each in targets])


@dataclass(frozen=True)
class _Place:
    """Layer `index` of the cut model is to give what layer `end` of the parent gives."""

    index: int
    end: int
    ridge: float


def _fit_layer(
    ours: Body, theirs: Body, plan: Plan, place: _Place, batches: Sequence[Batch], targets: Sequence[Tensor]
) -> None:
    layer, target_layer = ours.layers[place.index], theirs.layers[place.end]
    outer: Any = layer.outer
    hidden = None if plan.hidden is None else torch.tensor(plan.hidden)
    gram = torch.zeros(layer.ffn + 1, layer.ffn + 1, dtype=torch.float64)
    moment = torch.zeros(layer.ffn + 1, ours.hidden, dtype=torch.float64)
    for batch, theirs_sum in zip(batches, targets, strict=True):
        activations, our_sum = _listen(ours, place.index, batch)
        missing = _select(theirs_sum.double(), hidden) - (our_sum - _apply(outer, activations))
        ones = torch.cat([activations, torch.ones(len(activations), 1, dtype=torch.float64)], dim=1)
        gram += ones.T @ ones
        moment += ones.T @ missing
    _solve(outer, gram, moment, place.ridge)
    norm: Any = layer.output_norm
    their_norm: Any = target_layer.output_norm
    if norm is not None:
        norm.weight.copy_(_select(their_norm.weight, hidden))
        norm.bias.copy_(_select(their_norm.bias, hidden))


def _solve(outer: Any, gram: Tensor, moment: Tensor, ridge: float) -> None:
    """Weights (and bias, if there is one) that minimise squared error plus the pull towards what they are."""
    size = gram.shape[0] - 1
    weight = outer.weight.detach().double().cpu()
    present = torch.zeros(size + 1, weight.shape[0], dtype=torch.float64)
    present[:size] = weight.T
    if outer.bias is not None:
        present[size] = outer.bias.detach().double().cpu()
    else:
        gram, moment, present = gram[:size, :size], moment[:size], present[:size]
    pull = torch.full((len(gram),), float(ridge * gram.diagonal()[:size].mean()), dtype=torch.float64)
    solved = torch.linalg.solve(gram + torch.diag(pull), moment + pull[:, None] * present)
    outer.weight.copy_(solved[:size].T)
    if outer.bias is not None:
        outer.bias.copy_(solved[size])


def _listen(body: Body, index: int, batch: Batch) -> tuple[Tensor, Tensor]:
    """Input of a layer's last matrix (N, F), and the sum that its output joins (N, D)."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])

    with _sums(body, [index]) as sums:
        handle = body.layers[index].outer.register_forward_pre_hook(keep)
        try:
            _forward(body, batch)
        finally:
            handle.remove()
    real = batch["attention_mask"].bool()
    return seen[0][real].double().cpu(), sums[index][real].double().cpu()


def _outputs(body: Body, layers: Sequence[int], batch: Batch) -> list[Tensor]:
    """The sums of `layers`, (N, D) each."""
    with _sums(body, layers) as sums:
        _forward(body, batch)
    real = batch["attention_mask"].bool()
    return [sums[layer][real].cpu() for layer in layers]


@contextmanager
def _sums(body: Body, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Fills in, at the next forward pass, the sum in every layer: the output norm's input, or the layer's output."""
    seen: dict[int, Tensor] = {}

    def before(layer: int) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[layer] = inputs[0]

        return hook

    def after(layer: int) -> Any:
        def hook(_module: nn.Module, _inputs: object, output: Any) -> None:
            seen[layer] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = []
    for layer in set(layers):
        parts = body.layers[layer]
        if parts.output_norm is not None:
            handles.append(parts.output_norm.register_forward_pre_hook(before(layer)))
        else:
            handles.append(parts.module.register_forward_hook(after(layer)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _forward(body: Body, batch: Batch) -> None:
    body.base(**{name: batch[name].to(body.model.device) for name in ("input_ids", "attention_mask")})


def _apply(outer: Any, activations: Tensor) -> Tensor:
    weight = outer.weight.detach().double().cpu()
    found = activations @ weight.T
    return found if outer.bias is None else found + outer.bias.detach().double().cpu()


def _select(values: Tensor, hidden: Tensor | None) -> Tensor:
    return values if hidden is None else values.index_select(-1, hidden.to(values.device))
