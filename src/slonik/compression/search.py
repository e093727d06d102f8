"""Find the cut that loses least importance within a cost: uniform over all layers, or uneven.

Losses add up: dropping structures costs what `Options` says for their number, dropping a layer the layer's own loss.
With the losses of `ablation` all of these are measured in one unit, how far sentence vectors move, so that layers,
heads and neurons can be weighed against one another. Nothing is cut or measured here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slonik.compression.shape import Costs
from slonik.core.errors import SlonikError

_BINS = 2000
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """What may be chosen and what each choice loses.

    Attributes:
        layers: per layer, loss of dropping it; inf where it must stay.
        heads, ffn: per layer, (H + 1,) and (F + 1,) loss by the number that stays; inf where not allowed.
        depths: numbers of layers that may stay (uniform search).
    """

    layers: Vector
    heads: tuple[Vector, ...]
    ffn: tuple[Vector, ...]
    depths: tuple[int, ...]


@dataclass(frozen=True)
class Found:
    """Kept layers, heads and neurons of each, the loss of importance and the cost."""

    layers: tuple[int, ...]
    heads: tuple[int, ...]
    ffn: tuple[int, ...]
    loss: float
    cost: float


def search(options: Options, costs: Costs, target: float, *, uneven: bool) -> Found:
    """The allowed cut of cost at most `target` with the smallest loss.

    Raises:
        SlonikError: no allowed cut is that cheap; the sentence names the cheapest.
    """
    least = cheapest(options, costs, uneven=uneven)
    if least.cost > target * (1 + 1e-9):
        shape = f"{len(least.layers)} layers, {_span(least.heads)} heads, {_span(least.ffn)} neurons"
        raise SlonikError(
            f"at most {costs.show(target)} cannot be met: the nearest that can is {costs.show(least.cost)} "
            f"({shape}; {costs.show(costs.fixed)} lie outside the layers)"
        )
    found = _uneven(options, costs, target) if uneven else _uniform(options, costs, target)
    return found if found is not None else least


def cheapest(options: Options, costs: Costs, *, uneven: bool) -> Found:
    """The allowed cut of the least cost."""
    if not uneven:
        best = _uniform(options, costs, np.inf, least=True)
        assert best is not None
        return best
    stay = [layer for layer in range(len(options.layers)) if not np.isfinite(options.layers[layer])]
    heads = [int(np.flatnonzero(np.isfinite(options.heads[layer]))[0]) for layer in stay]
    ffn = [int(np.flatnonzero(np.isfinite(options.ffn[layer]))[0]) for layer in stay]
    loss = float(sum(value for value in options.layers if np.isfinite(value)))
    loss += sum(float(options.heads[layer][count]) for layer, count in zip(stay, heads, strict=True))
    loss += sum(float(options.ffn[layer][count]) for layer, count in zip(stay, ffn, strict=True))
    return Found(tuple(stay), tuple(heads), tuple(ffn), loss, costs.total(stay, heads, ffn))


def _uniform(options: Options, costs: Costs, target: float, *, least: bool = False) -> Found | None:
    """All layers keep the same numbers; layers go in the order of their scores."""
    order = np.argsort(options.layers, kind="stable")
    best: Found | None = None
    key = float("inf")
    for depth in options.depths:
        kept = np.sort(order[len(order) - depth :])
        dropped = float(sum(options.layers[layer] for layer in order[: len(order) - depth]))
        width = min(len(options.heads[layer]) for layer in kept)
        neurons = min(len(options.ffn[layer]) for layer in kept)
        head_loss = sum(options.heads[layer][:width] for layer in kept)
        ffn_loss = sum(options.ffn[layer][:neurons] for layer in kept)
        loss = np.add.outer(head_loss, ffn_loss) + dropped
        cost = np.add.outer(
            sum(costs.heads[layer][:width] for layer in kept), sum(costs.ffn[layer][:neurons] for layer in kept)
        )
        cost = cost + costs.fixed + float(costs.layers[kept].sum())
        value = np.where(np.isfinite(loss), cost if least else loss, np.inf)
        value = np.where(cost <= target * (1 + 1e-9), value, np.inf)
        count, inner = np.unravel_index(int(np.argmin(value)), value.shape)
        if value[count, inner] < key:
            key = float(value[count, inner])
            layers = tuple(int(layer) for layer in kept)
            sizes = (int(count),) * depth, (int(inner),) * depth
            best = Found(layers, *sizes, float(loss[count, inner]), float(cost[count, inner]))
    return best


def _uneven(options: Options, costs: Costs, target: float) -> Found | None:
    """Every layer for itself: a knapsack over binned cost, exact but for rounding costs up to a bin."""
    room = target - costs.fixed
    width = room / _BINS
    best = np.zeros(_BINS + 1)
    choices, tables = [], []
    for layer in range(len(options.layers)):
        loss, picked = _layer_table(options, costs, layer, width)
        total = np.full(_BINS + 1, np.inf)
        choice = np.zeros(_BINS + 1, dtype=np.int64)
        for bins in np.flatnonzero(np.isfinite(loss)):
            candidate = best[: _BINS + 1 - bins] + loss[bins]
            better = candidate < total[bins:]
            total[bins:][better] = candidate[better]
            choice[bins:][better] = bins
        best = total
        choices.append(choice)
        tables.append(picked)
    if not np.isfinite(best[-1]):
        return None
    left = _BINS
    layers: list[int] = []
    heads: list[int] = []
    ffn: list[int] = []
    for layer in reversed(range(len(options.layers))):
        taken = int(choices[layer][left])
        left -= taken
        count, neurons = tables[layer][taken]
        if count:
            layers.insert(0, layer)
            heads.insert(0, count)
            ffn.insert(0, neurons)
    return Found(tuple(layers), tuple(heads), tuple(ffn), float(best[-1]), costs.total(layers, heads, ffn))


def _layer_table(options: Options, costs: Costs, layer: int, width: float) -> tuple[Vector, dict[int, tuple[int, int]]]:
    """Loss by bins of cost for one layer, and (heads, neurons) of each bin; (0, 0) = dropped."""
    loss = np.add.outer(options.heads[layer], options.ffn[layer])
    cost = costs.layers[layer] + np.add.outer(costs.heads[layer], costs.ffn[layer])
    bins = np.ceil(np.maximum(cost, 0) / width - 1e-9).astype(np.int64)
    table = np.full(_BINS + 1, np.inf)
    picked: dict[int, tuple[int, int]] = {}
    if np.isfinite(options.layers[layer]):
        table[0], picked[0] = options.layers[layer], (0, 0)
    for count, neurons in np.argwhere(np.isfinite(loss) & (bins <= _BINS)):
        at = int(bins[count, neurons])
        if loss[count, neurons] < table[at]:
            table[at], picked[at] = loss[count, neurons], (int(count), int(neurons))
    return table, picked


def _span(values: tuple[int, ...]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
