"""What a cut costs, as a sum over layers: one number per layer kept, per number of heads, per number of neurons.

All three units (parameters, FLOPs, measured seconds) have this form, so one search serves them. Parameters and FLOPs
are exact; times are measured in `latency`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slonik.compression.shape import ModelShape, Sizes, resized

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
