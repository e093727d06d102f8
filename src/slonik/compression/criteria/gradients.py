"""Gradients by gates, one row per example, from one backward pass.

The loss of example i depends on row i of the gates alone, so the gradient of the summed losses by a (B, n) gate is
the stack of the examples' own gradients. The model runs in eval mode (no dropout), its weights take no gradient, and
both are put back as they were. Because rows never mix, scores do not depend on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from slonik.compression.gates import KINDS, Gates, gated, open_gates
from slonik.compression.scores import Scores
from slonik.compression.shape import shape_of
from slonik.core.errors import SlonikError
from slonik.models.anatomy import dissect

Batch = Mapping[str, Tensor]
LossFunction = Callable[[PreTrainedModel, Batch], Tensor]
"""(model, batch) -> loss of every example (B,), or several losses of every example (P, B). The model is to be run on
all B examples at once, in their order; twice where an example has two texts."""


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
