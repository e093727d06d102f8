"""Gates: numbers that multiply what a head, a neuron, a layer or a hidden dimension puts out.

With gates of 0 and 1 a model behaves as if the gated structures were cut (to rounding); the gradient by a gate of 1
is the structure's first-order importance. Gates act through forward hooks, so any family in the anatomy table has
them and no weight changes. Choosing what to cut is not done here.

Where a gate acts:

- head: on the context of the head, at the input of the attention's output projection;
- neuron: at the input of the feed-forward part's last matrix;
- layer: input + gate * (output - input), so 0 passes the layer by;
- branch: on what a layer's two output projections put out, biases included (1 unless a layer is scored);
- hidden dimension: on the output of every norm over the hidden dimensions, and of projections into them. With
  `kept_statistics`, norms take mean and variance over gated dimensions alone, as the cut model will; without it the
  gate multiplies the norm's scale and shift and nothing else, which is what the Taylor score is defined on.

Gates of shape (n,) serve the whole batch; of shape (B, n), row i serves example i, so that one backward pass gives
the gradient of every example. Shapes: B examples, T tokens, L layers, H heads, F neurons, D hidden dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.models.anatomy import Body, dissect, stream_norms

KINDS = ("heads", "ffn", "layers", "hidden")


@dataclass(frozen=True)
class Gates:
    """One tensor per kind, None where a kind is not gated.

    Attributes:
        heads: per layer, (H,) or (B, H). ffn: per layer, (F,) or (B, F).
        layers, branches: (L,) or (B, L). hidden: (D,) or (B, D).
        kept_statistics: whether norms see gated dimensions alone (see the module's text).
    """

    heads: tuple[Tensor, ...] | None = None
    ffn: tuple[Tensor, ...] | None = None
    layers: Tensor | None = None
    branches: Tensor | None = None
    hidden: Tensor | None = None
    kept_statistics: bool = True

    def tensors(self, kind: str) -> list[Tensor]:
        """All tensors of a kind: one per layer for heads and ffn, else one; empty if the kind is not gated."""
        value = getattr(self, kind)
        if value is None:
            return []
        return list(value) if isinstance(value, tuple) else [value]


def open_gates(
    body: Body,
    kinds: Collection[str] = KINDS,
    *,
    examples: int | None = None,
    requires_grad: bool = False,
    kept_statistics: bool = True,
) -> Gates:
    """Gates of 1 for `kinds` (of KINDS, and "branches"); of shape (examples, n) if `examples` is given."""
    like = body.words.weight

    def ones(size: int) -> Tensor:
        shape = (size,) if examples is None else (examples, size)
        return torch.ones(shape, device=like.device, dtype=like.dtype, requires_grad=requires_grad)

    depth = len(body.layers)
    return Gates(
        heads=tuple(ones(layer.heads) for layer in body.layers) if "heads" in kinds else None,
        ffn=tuple(ones(layer.ffn) for layer in body.layers) if "ffn" in kinds else None,
        layers=ones(depth) if "layers" in kinds else None,
        branches=ones(depth) if "branches" in kinds else None,
        hidden=ones(body.hidden) if "hidden" in kinds else None,
        kept_statistics=kept_statistics,
    )


@contextmanager
def gated(model: PreTrainedModel, gates: Gates) -> Iterator[Body]:
    """Run `model` with `gates` inside the `with` block.

    Raises:
        SlonikError: gates whose sizes are not the model's, or hidden gates on a family without LayerNorm.
    """
    body = dissect(model)
    _check(body, gates)
    with ExitStack() as stack:
        for index, layer in enumerate(body.layers):
            if gates.heads is not None:
                _before(stack, layer.context, _spread(gates.heads[index], layer.head_size))
            if gates.ffn is not None:
                _before(stack, layer.outer, gates.ffn[index])
            if gates.branches is not None:
                _after(stack, layer.context, gates.branches[..., index : index + 1])
                _after(stack, layer.outer, gates.branches[..., index : index + 1])
            if gates.layers is not None:
                _around(stack, layer.module, gates.layers[..., index])
        if gates.hidden is not None:
            _gate_hidden(stack, body, gates.hidden, gates.kept_statistics)
        yield body


def _check(body: Body, gates: Gates) -> None:
    sizes = {
        "heads": list(body.heads),
        "ffn": list(body.ffn),
        "layers": [len(body.layers)],
        "branches": [len(body.layers)],
        "hidden": [body.hidden],
    }
    for kind, expected in sizes.items():
        found = [tensor.shape[-1] for tensor in gates.tensors(kind)]
        if found and found != expected:
            raise SlonikError(f"gates for {kind} have sizes {found}, the model has {expected}")


def _spread(gate: Tensor, head_size: int) -> Tensor:
    """(..., H) -> (..., H x head size)."""
    return gate.repeat_interleave(head_size, dim=-1)


def _fit(gate: Tensor, values: Tensor) -> Tensor:
    """A gate (n,) or (B, n) that multiplies `values` (B, ..., n)."""
    if gate.dim() == 1:
        return gate
    if values.shape[0] != gate.shape[0]:
        raise SlonikError(
            f"gates for {gate.shape[0]} examples met a batch of {values.shape[0]}: the loss must run the model on all "
            "examples of the batch at once"
        )
    return gate.view(gate.shape[0], *[1] * (values.dim() - 2), gate.shape[1])


def _before(stack: ExitStack, module: nn.Module, gate: Tensor) -> None:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0] * _fit(gate, inputs[0]), *inputs[1:])

    stack.callback(module.register_forward_pre_hook(hook).remove)


def _after(stack: ExitStack, module: nn.Module, gate: Tensor) -> None:
    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output * _fit(gate, output)

    stack.callback(module.register_forward_hook(hook).remove)


def _around(stack: ExitStack, module: nn.Module, gate: Tensor) -> None:
    """A layer's gate, () or (B,)."""

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        entered = args[0] if args else kwargs["hidden_states"]
        left = output[0] if isinstance(output, tuple) else output
        factor = gate if gate.dim() == 0 else _fit(gate[:, None], left)
        mixed = entered + factor * (left - entered)
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)


def _gate_hidden(stack: ExitStack, body: Body, gate: Tensor, kept_statistics: bool) -> None:
    norms = dict(stream_norms(body))
    if not norms:
        raise SlonikError(f"hidden dimensions of {body.anatomy.family} cannot be gated: its norms are not LayerNorms")
    for name, norm in norms.items():
        # a table of relative positions has no examples: row-wise gates pass it by
        if gate.dim() == 2 and name.endswith("encoder.LayerNorm"):
            continue
        if kept_statistics:
            stack.callback(norm.register_forward_hook(_masked_norm(gate)).remove)
        else:
            _after(stack, norm, gate)
    for name, module in body.model.named_modules():
        axes = body.axes.get(f"{name}.weight")
        writes = axes is not None and axes.layer is None and isinstance(module, nn.Linear) and axes.axes[0] == "hidden"
        if writes and (kept_statistics or not _feeds_a_norm(name)):
            _after(stack, module, gate)
    _gate_raw_positions(stack, body, gate)


def _feeds_a_norm(name: str) -> bool:
    """Projections whose output goes through a norm right away, where the gate acts once already."""
    return name.endswith(("embed_proj", "transform.dense", "lm_head.dense", "head.dense", "vocab_transform"))


def _masked_norm(gate: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        assert isinstance(module, nn.LayerNorm)
        values = inputs[0]
        weights = _fit(gate, values)
        count = weights.sum(-1, keepdim=True)
        mean = (values * weights).sum(-1, keepdim=True) / count
        variance = (weights * (values - mean).square()).sum(-1, keepdim=True) / count
        normal = (values - mean) * torch.rsqrt(variance + module.eps) * module.weight
        return (normal if module.bias is None else normal + module.bias) * weights

    return hook


def _gate_raw_positions(stack: ExitStack, body: Body, gate: Tensor) -> None:
    """DeBERTa without a norm on its relative positions reads their table raw."""
    encoder: Any = getattr(body.base, "encoder", None)
    if not hasattr(encoder, "get_rel_embedding") or hasattr(encoder, "LayerNorm") or gate.dim() == 2:
        return
    read = encoder.get_rel_embedding
    encoder.get_rel_embedding = lambda: None if (table := read()) is None else table * gate
    stack.callback(lambda: delattr(encoder, "get_rel_embedding"))
