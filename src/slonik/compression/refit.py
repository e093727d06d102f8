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
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slonik.compression.criteria import Batch, scoring
from slonik.compression.plan import Plan
from slonik.compression.replay import Replay
from slonik.core.errors import SlonikError
from slonik.core.progress import track
from slonik.models.anatomy import Body, LayerParts, dissect


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
        targets = _sums_of(theirs, ends, batches)
        replay = Replay(ours, batches)
        states = [state.clone() for state in replay.starts]
        for index, end in track(list(enumerate(ends)), "fitting layers"):
            heard = [_listen(replay, index, number, state) for number, state in enumerate(states)]
            wanted = [_select(each, plan.hidden) for each in targets.pop(0)]
            _fit(ours.layers[index], heard, wanted, ridge)
            _take_norm(ours.layers[index].output_norm, theirs.layers[end].output_norm, plan.hidden)
            states = [replay.run(index, number, state) for number, state in enumerate(states)]


def _fit(layer: LayerParts, heard: Sequence[tuple[Tensor, Tensor]], wanted: Sequence[Tensor], ridge: float) -> None:
    """Fit the last matrix of a layer.

    Args:
        heard: per batch, its input (N, F) and the sum that its output joins (N, D). wanted: that sum's target.
    """
    outer: Any = layer.outer
    width = wanted[0].shape[-1]
    gram = torch.zeros(layer.ffn + 1, layer.ffn + 1, dtype=torch.float64)
    moment = torch.zeros(layer.ffn + 1, width, dtype=torch.float64)
    for (activations, joined), target in zip(heard, wanted, strict=True):
        missing = target - (joined - outer(activations))
        ones = torch.cat([activations, activations.new_ones(len(activations), 1)], dim=1)
        gram += (ones.T @ ones).double().cpu()
        moment += (ones.T @ missing).double().cpu()
    _solve(outer, gram, moment, ridge)


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


def _listen(replay: Replay, layer: int, batch: int, state: Tensor) -> tuple[Tensor, Tensor]:
    """Input of a layer's last matrix (N, F), and the sum that its output joins (N, D)."""
    body = replay.body
    seen: list[Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])

    with _sums(body, [layer]) as sums:
        handle = body.layers[layer].outer.register_forward_pre_hook(keep)
        try:
            replay.run(layer, batch, state)
        finally:
            handle.remove()
    real = replay.masks[batch].bool()
    return seen[0][real], sums[layer][real]


def _sums_of(body: Body, layers: Sequence[int], batches: Sequence[Batch]) -> list[list[Tensor]]:
    """The sums in `layers` (outer list), (N, D) per batch (inner list)."""
    found: list[list[Tensor]] = [[] for _ in layers]
    for batch in batches:
        with _sums(body, layers) as sums:
            body.base(**{name: batch[name].to(body.model.device) for name in ("input_ids", "attention_mask")})
        real = batch["attention_mask"].to(body.model.device).bool()
        for layer, each in zip(layers, found, strict=True):
            each.append(sums[layer][real])
    return found


def _take_norm(ours: Any, theirs: Any, hidden: tuple[int, ...] | None) -> None:
    if ours is not None and theirs is not None:
        ours.weight.copy_(_select(theirs.weight, hidden))
        ours.bias.copy_(_select(theirs.bias, hidden))


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

    handles: list[Any] = []
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


def _select(values: Tensor, hidden: tuple[int, ...] | None) -> Tensor:
    return values if hidden is None else values.index_select(-1, torch.tensor(hidden, device=values.device))
