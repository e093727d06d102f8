"""The shape of a model apart from its weights, and what any cut of it would cost.

Parameters and FLOPs come from the anatomy's axes and agree with `slonik.models.describe` on the cut model. `Costs` is
their sum over layers: one number per layer kept, per number of heads, per number of neurons. Measured times have this
form too (see `latency`), so one search serves all three units. Nothing is measured here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from slonik.models.anatomy import Body, ParameterAxes, dissect
from slonik.models.checkpoint_files import TensorInfo
from slonik.models.describe import flops_per_text


@dataclass(frozen=True)
class Sizes:
    """Sizes of a cut: kept layers (indices of the parent), heads and neurons of each, hidden size, vocabulary."""

    layers: tuple[int, ...]
    heads: tuple[int, ...]
    ffn: tuple[int, ...]
    hidden: int
    vocab: int


@dataclass(frozen=True)
class ModelShape:
    """Shape of a model's encoder, heads behind it left out.

    Attributes:
        family: of the anatomy table. sizes: what there is, all layers. head_size: of every head.
        first_layer_pinned: whether layer 0 must stay. config: the model's config as a dict.
        tensors: name in the base model, layer or None, axes and shape of every parameter.
        keeps: what of the family stays whole: "heads", "hidden".
    """

    family: str
    sizes: Sizes
    head_size: int
    first_layer_pinned: bool
    config: dict[str, Any]
    tensors: tuple[tuple[ParameterAxes, tuple[int, ...]], ...]
    keeps: tuple[str, ...] = ()

    @property
    def depth(self) -> int:
        """Layers."""
        return len(self.sizes.layers)

    def parameters(self, sizes: Sizes | None = None) -> int:
        """Parameters of the encoder with its embeddings and pooler at `sizes` (as it is, by default)."""
        return sum(math.prod(shape) for _, shape in self._cut(sizes or self.sizes))

    def flops(self, sizes: Sizes | None = None, tokens: int = 32) -> int:
        """FLOPs of one text of `tokens` tokens, by the formula of `slonik.models.describe`."""
        sizes = sizes or self.sizes
        config = dict(self.config)
        if config.get("layer_types"):
            config["layer_types"] = [config["layer_types"][layer] for layer in sizes.layers]
        config["hidden_size"] = sizes.hidden
        config["model_type"] = self.family
        return flops_per_text(config, {name: TensorInfo("F32", shape) for name, shape in self._cut(sizes)}, tokens)

    def _cut(self, sizes: Sizes) -> list[tuple[str, tuple[int, ...]]]:
        place = {layer: index for index, layer in enumerate(sizes.layers)}
        made = []
        for axes, shape in self.tensors:
            if axes.layer is not None and axes.layer not in place:
                continue
            at = place.get(axes.layer, 0) if axes.layer is not None else 0
            name = axes.name if axes.layer is None else axes.name.replace(f".{axes.layer}.", f".{at}.", 1)
            made.append((name, tuple(self._size(axis, size, at, sizes) for axis, size in zip(axes.axes, shape))))  # noqa: B905
        return made

    def _size(self, axis: str | None, size: int, at: int, sizes: Sizes) -> int:
        if axis is None:
            return size
        rows = {
            "hidden": sizes.hidden,
            "tokens": sizes.vocab,
            "heads": sizes.heads[at] * self.head_size,
            "qkv": 3 * sizes.heads[at] * self.head_size,
            "ffn": sizes.ffn[at],
            "glu": 2 * sizes.ffn[at],
        }
        return rows[axis]


def shape_of(model: PreTrainedModel, body: Body | None = None) -> ModelShape:
    """The shape of `model`."""
    body = body or dissect(model)
    prefix = "" if body.base is body.model else body.model.base_model_prefix + "."
    parameters = dict(model.named_parameters())
    tensors = []
    for name, axes in body.axes.items():
        if axes.base:
            inside = ParameterAxes(name.removeprefix(prefix), axes.layer, True, axes.axes)
            tensors.append((inside, tuple(parameters[name].shape)))
    sizes = Sizes(tuple(range(len(body.layers))), body.heads, body.ffn, body.hidden, body.vocab)
    return ModelShape(
        family=body.anatomy.family,
        sizes=sizes,
        head_size=body.head_size,
        first_layer_pinned=body.first_layer_pinned,
        config=model.config.to_dict(),
        tensors=tuple(tensors),
        keeps=body.anatomy.keeps,
    )


def resized(shape: ModelShape, layers: Sequence[int], heads: Sequence[int], ffn: Sequence[int]) -> Sizes:
    """Sizes of a cut that leaves hidden size and vocabulary alone."""
    return Sizes(tuple(layers), tuple(heads), tuple(ffn), shape.sizes.hidden, shape.sizes.vocab)


_FORMATS = {"parameters": "{:,.0f} parameters", "flops": "{:,.0f} FLOPs", "latency": "{:.3g} s"}


@dataclass(frozen=True)
class Costs:
    """Additive costs of a model of L layers.

    Attributes:
        unit: "parameters", "flops" or "latency" (seconds).
        fixed: cost of what is outside the layers.
        layers: (L,) cost of a kept layer without its heads and neurons.
        heads: per layer, (H + 1,) cost by number of heads. ffn: per layer, (F + 1,) cost by number of neurons.
    """

    unit: str
    fixed: float
    layers: NDArray[np.float64]
    heads: tuple[NDArray[np.float64], ...]
    ffn: tuple[NDArray[np.float64], ...]

    def total(self, layers: Sequence[int], heads: Sequence[int], ffn: Sequence[int]) -> float:
        """Cost of keeping `layers` with that many heads and neurons each."""
        kept = zip(layers, heads, ffn, strict=True)
        return self.fixed + sum(
            float(self.layers[layer] + self.heads[layer][count] + self.ffn[layer][neurons])
            for layer, count, neurons in kept
        )

    def whole(self) -> float:
        """Cost of the uncut model."""
        depth = range(len(self.layers))
        return self.total(depth, [len(row) - 1 for row in self.heads], [len(row) - 1 for row in self.ffn])

    def show(self, cost: float) -> str:
        """A cost with its unit, for a message."""
        return _FORMATS[self.unit].format(cost)


def counted_costs(shape: ModelShape, unit: str, *, hidden: int | None = None, tokens: int = 32) -> Costs:
    """Exact costs in parameters or FLOPs (of a text of `tokens` tokens), with `hidden` dimensions kept.

    Both are linear in heads and neurons of each layer, so differences of the exact counts give the slopes.
    """
    sizes = shape.sizes
    everything = resized(shape, sizes.layers, sizes.heads, sizes.ffn)

    def count(layers: Sequence[int], heads: Sequence[int], ffn: Sequence[int]) -> float:
        cut = Sizes(tuple(layers), tuple(heads), tuple(ffn), hidden or everything.hidden, everything.vocab)
        return float(shape.parameters(cut) if unit == "parameters" else shape.flops(cut, tokens))

    full = count(sizes.layers, sizes.heads, sizes.ffn)
    base, head_rows, ffn_rows = [], [], []
    for layer in sizes.layers:
        per_head = count(sizes.layers, _more(sizes.heads, layer), sizes.ffn) - full
        per_neuron = count(sizes.layers, sizes.heads, _more(sizes.ffn, layer)) - full
        if shape.depth > 1:
            without = count(*(_without(values, layer) for values in (sizes.layers, sizes.heads, sizes.ffn)))
        else:
            without = full - (per_head * sizes.heads[layer] + per_neuron * sizes.ffn[layer])
        head_rows.append(per_head * np.arange(sizes.heads[layer] + 1, dtype=np.float64))
        ffn_rows.append(per_neuron * np.arange(sizes.ffn[layer] + 1, dtype=np.float64))
        base.append(full - without - head_rows[-1][-1] - ffn_rows[-1][-1])
    rest = sum(base) + sum(row[-1] for row in head_rows) + sum(row[-1] for row in ffn_rows)
    return Costs(unit, full - rest, np.array(base), tuple(head_rows), tuple(ffn_rows))


def _more(values: tuple[int, ...], at: int) -> tuple[int, ...]:
    return tuple(value + 1 if index == at else value for index, value in enumerate(values))


def _without(values: tuple[int, ...], at: int) -> tuple[int, ...]:
    return tuple(value for index, value in enumerate(values) if index != at)
