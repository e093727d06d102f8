"""From scores and a budget to a plan. Reads no model: everything is in the scores' shape (and measured times).

A budget says how much may stay: shares per kind of structure (heads=0.75 keeps nine of twelve), or one target. Shares
are met exactly (rounded to whole structures); a target is met by `search`. Ties go to the lower index, so equal scores
give equal plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from pydantic import Field, model_validator

from slonik.compression.criteria import FloatVector, Scores
from slonik.compression.latency import LatencyTable
from slonik.compression.plan import Plan
from slonik.compression.search import Options, search
from slonik.compression.shape import Costs, ModelShape, counted_costs
from slonik.core.config import Config
from slonik.core.errors import SlonikError

Unit = Literal["parameters", "flops", "latency"]


class Budget(Config):
    """A budget; every field is optional, and what is not named stays whole.

    Attributes:
        layers: number of layers that stay, chosen by their scores; with `keep_layers` exactly those (0-based).
        heads, ffn: share of heads and neurons that stays in the kept layers; at least one each.
        hidden: share of the hidden dimensions that stays (rounded to `multiple` / 2).
        target_parameters: the most parameters of the encoder, embeddings included.
        target_flops: share of the FLOPs of a text of `tokens` tokens that may stay.
        target_latency: share of the measured time of such a text that may stay.
        uneven: layers may differ in heads and neurons.
        multiple: neurons stay in multiples of this where layers are that wide (vector units like 8 and 16).
        min_layers: the fewest layers that a target may leave.
        tokens: length of the text that FLOPs and time are counted on.
    """

    layers: int | None = None
    keep_layers: tuple[int, ...] | None = None
    heads: float = 1.0
    ffn: float = 1.0
    hidden: float = 1.0
    target_parameters: int | None = Field(None, ge=1)
    target_flops: float | None = Field(None, gt=0, le=1)
    target_latency: float | None = Field(None, gt=0, le=1)
    uneven: bool = False
    multiple: int = Field(16, ge=1)
    min_layers: int = Field(1, ge=1)
    tokens: int = Field(32, ge=2)

    @model_validator(mode="after")
    def _possible(self) -> Budget:
        for name in ("heads", "ffn", "hidden"):
            share = getattr(self, name)
            if share <= 0:
                raise SlonikError(f"{name} would be cut to zero ({share}): a share above 0, at most 1, must stay")
            if share > 1:
                raise SlonikError(f"{name} is {share}: it is the share that stays, above 0 and at most 1")
        if self.layers is not None and self.layers < 1:
            raise SlonikError(f"the layers would be cut to zero ({self.layers}): keep one at least")
        if self.keep_layers is not None and not self.keep_layers:
            raise SlonikError("keep_layers is empty: the layers would be cut to zero, keep one at least")
        if self.layers is not None and self.keep_layers is not None and len(self.keep_layers) != self.layers:
            raise SlonikError(
                f"layers is {self.layers}, but keep_layers names {len(self.keep_layers)}: give one of them"
            )
        if self.target_latency is not None and self.hidden < 1:
            raise SlonikError("block times are measured at one hidden size: cut hidden dimensions first, apart")
        named = [name for name in ("target_parameters", "target_flops", "target_latency") if getattr(self, name)]
        if len(named) > 1:
            raise SlonikError(f"give one target, not {' and '.join(named)}")
        return self

    @property
    def unit(self) -> Unit | None:
        """What the target counts, None without a target."""
        if self.target_parameters is not None:
            return "parameters"
        if self.target_flops is not None:
            return "flops"
        return "latency" if self.target_latency is not None else None


def rounded(count: float, size: int, multiple: int) -> int:
    """The nearest multiple, at least one and at most `size`; where `size` is small, of half the multiple, and so on."""
    if count >= size:
        return size
    while multiple > 1 and size < 2 * multiple:
        multiple //= 2
    return min(size, max(multiple, round(count / multiple) * multiple))


T = TypeVar("T")


@dataclass(frozen=True)
class Goal:
    """A budget in absolute numbers for one model.

    Attributes:
        layers: how many stay, None = as many as the target wants. keep: exactly these, None = by score.
        heads, ffn: average per kept layer, None = as many as the target wants.
        hidden: dimensions that stay. cost: target in the unit of the costs, None without a target.
    """

    layers: int | None
    keep: tuple[int, ...] | None
    heads: float | None
    ffn: float | None
    hidden: int
    cost: float | None


def choose(scores: Scores, budget: Budget, *, latency: LatencyTable | None = None, parent: str = "") -> Plan:
    """The plan that meets `budget` and loses the least importance.

    Args:
        latency: measured block times (`latency.measure`), needed for a latency target.
        parent: hash of the scored weights, noted in the plan so that it is not applied to others.

    Raises:
        SlonikError: a budget that cannot be met (the nearest that can is named), or structures to cut that were
            not scored.
    """
    goal = goal_of(budget, scores.shape, latency)
    return choose_goal(scores, goal, budget, latency=latency, parent=parent)


def goal_of(budget: Budget, shape: ModelShape, latency: LatencyTable | None = None) -> Goal:
    """`budget` in numbers of structures of a model of `shape`.

    Raises:
        SlonikError: more layers than there are, a kept layer that is not there, a share that leaves nothing, a
            latency target without measured times.
    """
    sizes = shape.sizes
    keep = budget.keep_layers
    if keep is not None:
        keep = tuple(sorted(set(keep)))
        if wrong := [layer for layer in keep if not 0 <= layer < shape.depth]:
            raise SlonikError(f"there is no layer {wrong[0]} to keep: the model has layers 0 to {shape.depth - 1}")
    layers = len(keep) if keep is not None else budget.layers
    if layers is not None and layers > shape.depth:
        raise SlonikError(f"{layers} layers cannot stay: the model has {shape.depth}")
    unit, cost = budget.unit, None
    if unit is not None:
        if unit == "parameters":
            cost = float(budget.target_parameters or 0)
        else:
            share = budget.target_flops if unit == "flops" else budget.target_latency
            cost = float(share or 0) * costs_for(budget, shape, latency).whole()
    if layers is None and unit is None:
        layers = shape.depth
    searched = unit is not None
    return Goal(
        layers=layers,
        keep=keep,
        heads=None if searched and budget.heads == 1 else _share("heads", budget.heads, max(sizes.heads)),
        ffn=None if searched and budget.ffn == 1 else _neurons(budget, max(sizes.ffn)),
        hidden=rounded(budget.hidden * sizes.hidden, sizes.hidden, max(1, budget.multiple // 2)),
        cost=cost,
    )


def costs_for(
    budget: Budget, shape: ModelShape, latency: LatencyTable | None = None, hidden: int | None = None
) -> Costs:
    """Costs in the unit of the budget's target."""
    if budget.unit == "latency":
        if latency is None:
            raise SlonikError("a latency target needs block times measured on this machine")
        return latency.costs(shape)
    return counted_costs(shape, budget.unit or "parameters", hidden=hidden, tokens=budget.tokens)


def choose_goal(
    scores: Scores, goal: Goal, budget: Budget, *, latency: LatencyTable | None = None, parent: str = ""
) -> Plan:
    """`choose` with the budget already in numbers (the steps of iterative pruning have numbers between)."""
    shape = scores.shape
    if goal.cost is None:
        layers = _layers(scores, goal)
        heads = _counts(scores.heads, goal.heads, layers, shape.sizes.heads, 1, budget.uneven, "heads")
        ffn = _counts(scores.ffn, goal.ffn, layers, shape.sizes.ffn, budget.multiple, budget.uneven, "ffn")
    else:
        costs = costs_for(budget, shape, latency, hidden=goal.hidden)
        found = search(_options(scores, goal, budget), costs, goal.cost, uneven=budget.uneven)
        layers, heads, ffn = list(found.layers), list(found.heads), list(found.ffn)
    hidden = None
    if goal.hidden < shape.sizes.hidden:
        hidden = tuple(_best(_scored(scores.hidden, "hidden dimensions"), goal.hidden))
    pairs = list(zip(layers, heads, ffn, strict=True))
    return Plan(
        family=shape.family,
        parent=parent,
        layers=tuple(layers),
        heads=tuple(_kept(scores.heads, layer, count, shape.sizes.heads, "heads") for layer, count, _ in pairs),
        ffn=tuple(_kept(scores.ffn, layer, count, shape.sizes.ffn, "neurons") for layer, _, count in pairs),
        hidden=hidden,
    )


def foreseen(scores: Scores, plan: Plan) -> float:
    """The loss that scores with losses of one unit foresee for `plan`: a sum over what it takes out."""
    assert scores.layers is not None and scores.head_losses is not None and scores.ffn_losses is not None
    gone = set(range(scores.shape.depth)) - set(plan.layers)
    loss = float(sum(scores.layers[layer] for layer in gone))
    for layer, heads, ffn in zip(plan.layers, plan.heads, plan.ffn, strict=True):
        loss += float(scores.head_losses[layer][len(heads)] + scores.ffn_losses[layer][len(ffn)])
    return loss


def whole_of(shape: ModelShape) -> Plan:
    """The plan that keeps everything of a model of `shape`."""
    return Plan(
        family=shape.family,
        layers=shape.sizes.layers,
        heads=tuple(tuple(range(count)) for count in shape.sizes.heads),
        ffn=tuple(tuple(range(count)) for count in shape.sizes.ffn),
    )


def _layers(scores: Scores, goal: Goal) -> list[int]:
    depth = scores.shape.depth
    if goal.keep is not None and len(goal.keep) == goal.layers:
        return list(goal.keep)
    if goal.layers is None or goal.layers == depth:
        return list(range(depth))
    return _best(_layer_values(scores, goal), goal.layers)


def _layer_values(scores: Scores, goal: Goal) -> FloatVector:
    """Layer scores with inf for those that must stay."""
    values = _scored(scores.layers, "layers").astype(np.float64).copy()
    if goal.keep is not None:
        values[list(goal.keep)] = np.inf
    if scores.shape.first_layer_pinned:
        values[0] = np.inf
    return values


def _counts(
    scored: tuple[FloatVector, ...] | None,
    average: float | None,
    layers: Sequence[int],
    sizes: tuple[int, ...],
    multiple: int,
    uneven: bool,
    what: str,
) -> list[int]:
    """How many structures each of `layers` keeps."""
    if average is None or all(average >= sizes[layer] for layer in layers):
        return [sizes[layer] for layer in layers]
    if not uneven:
        return [rounded(min(average, sizes[layer]), sizes[layer], multiple) for layer in layers]
    return _spread(_scored(scored, what), average, layers, sizes, multiple)


def _spread(
    scored: tuple[FloatVector, ...], average: float, layers: Sequence[int], sizes: tuple[int, ...], multiple: int
) -> list[int]:
    """The best blocks of `multiple` structures over all layers together; every layer keeps its best block."""
    block = {layer: rounded(1, sizes[layer], multiple) for layer in layers}
    wanted = round(average * len(layers))
    kept = dict(block)
    blocks = []
    for layer in layers:
        ordered = np.sort(scored[layer])[::-1]
        for start in range(block[layer], sizes[layer], block[layer]):
            part = ordered[start : start + block[layer]]
            blocks.append((-float(part.mean()), layer, start, len(part)))
    for _, layer, _, size in sorted(blocks):
        if sum(kept.values()) + size > wanted:
            break
        kept[layer] += size
    return [kept[layer] for layer in layers]


def _options(scores: Scores, goal: Goal, budget: Budget) -> Options:
    shape, depth = scores.shape, scores.shape.depth
    free = goal.layers is None and scores.layers is not None
    values = np.full(depth, np.inf)
    if free or (goal.layers is not None and goal.layers < depth):
        values = _layer_values(scores, goal)
    depths: tuple[int, ...] = (depth,)
    if goal.layers is not None:
        depths = (goal.layers,)
        if goal.layers < depth:
            stay = _layers(scores, goal)
            values = np.array([np.inf if layer in stay else 0.0 for layer in range(depth)])
    elif free:
        least = min(depth, budget.min_layers)
        depths = tuple(range(least, depth + 1))
        values[_best(values, least)] = np.inf
    return Options(
        layers=values,
        heads=tuple(
            _by_count(scores.heads, scores.head_losses, layer, shape.sizes.heads, 1, goal.heads)
            for layer in range(depth)
        ),
        ffn=tuple(
            _by_count(scores.ffn, scores.ffn_losses, layer, shape.sizes.ffn, budget.multiple, goal.ffn)
            for layer in range(depth)
        ),
        depths=depths,
    )


def _by_count(
    scored: tuple[FloatVector, ...] | None,
    measured: tuple[FloatVector, ...] | None,
    layer: int,
    sizes: tuple[int, ...],
    multiple: int,
    only: float | None,
) -> FloatVector:
    """Loss by the number of structures kept in a layer; inf where that number is not allowed."""
    size = sizes[layer]
    losses = np.full(size + 1, np.inf)
    losses[size] = 0.0
    if scored is None:
        return losses
    if measured is not None:
        removed = measured[layer][::-1]
    else:
        removed = np.concatenate([[0.0], np.cumsum(np.sort(scored[layer]))])  # loss of removing the n least
    allowed = {rounded(count, size, multiple) for count in range(1, size + 1)} if only is None else set()
    if only is not None:
        allowed, losses[size] = {rounded(min(only, size), size, multiple)}, np.inf
    for count in allowed:
        losses[count] = removed[size - count]
    return losses


def _kept(
    scored: tuple[FloatVector, ...] | None, layer: int, count: int, sizes: tuple[int, ...], what: str
) -> tuple[int, ...]:
    if count == sizes[layer]:
        return tuple(range(count))
    return tuple(_best(_scored(scored, what)[layer], count))


def _best(values: FloatVector, count: int) -> list[int]:
    """Indices of the `count` highest values, ascending; the lower index wins a tie."""
    order = np.argsort(-values, kind="stable")[:count]
    return sorted(int(index) for index in order)


def _scored(scored: T | None, what: str) -> T:
    if scored is None:
        raise SlonikError(f"{what} are to be cut but were not scored: score that kind too")
    return scored


def _share(what: str, share: float, size: int) -> float:
    count = round(share * size)
    if count < 1:
        raise SlonikError(f"{what}={share} would leave none of {size}: the least is {1 / size:.3f}, which keeps one")
    return float(count)


def _neurons(budget: Budget, size: int) -> float:
    return budget.ffn * size if budget.uneven else float(rounded(budget.ffn * size, size, budget.multiple))
