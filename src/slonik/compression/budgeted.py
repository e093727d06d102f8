"""Meet a target: search with measured losses, weigh what is found against whole layers alone, time it, search again.

A plan is believed when it was looked at. The search adds up losses and times of parts that were taken out one by one,
so its best plan is compared with the best cut of whole layers on texts that neither was chosen on; and for a latency
target the cut model is timed against the uncut one: where it misses, the search begins again with a target made
stricter by what was measured. Parameters and FLOPs are counted and need no second look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from slonik.compression import latency
from slonik.compression.ablation import Original
from slonik.compression.choose import Budget, costs_for, goal_of
from slonik.compression.latency import LatencyTable
from slonik.compression.plan import Plan, keep_layers, whole
from slonik.compression.shape import shape_of
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.core.progress import warn_once

TOLERANCE = 0.03
"""Share by which a measured time may be over the target: what timing the same model twice differs by."""
ATTEMPTS = 4
MIXED, LAYERS = "layers, heads and neurons", "whole layers"


@dataclass(frozen=True)
class Cut:
    """A cut model, its plan in the original's indices, and what is to be told of it."""

    model: PreTrainedModel
    plan: Plan
    summary: dict[str, Any] = field(default_factory=dict)


def meet(
    model: PreTrainedModel,
    budget: Budget,
    mixed: Callable[[Budget], Cut],
    layers: Callable[[int], tuple[int, ...]],
    judge: Original,
    table: LatencyTable | None = None,
) -> Cut:
    """The better of two cuts to `budget`, measured.

    Args:
        model: uncut. mixed: cuts it to a budget by search. layers: the best so many layers to keep.
        judge: texts that neither chooses on. table: block times of `model`, for a latency target.

    Raises:
        SlonikError: a budget that cannot be met.
    """
    asked, share = budget.target_latency, 1.0
    for attempt in range(1, ATTEMPTS + 1):
        found = _better(model, budget, mixed, layers, judge, table)
        if asked is None or table is None:
            return found
        predicted = _cost(found.model, budget, table, model) if budget.hidden == 1 else 1.0
        share = latency.share_of_time(found.model, model, budget.tokens)
        found.summary["latency"] = {
            "target": asked, "foreseen": round(predicted, 4), "measured": round(share, 4), "searches": attempt,
        }  # fmt: skip
        if share <= asked * (1 + TOLERANCE):
            return found
        stricter = budget.model_copy(
            update={"target_latency": min(predicted, budget.target_latency or 1) * asked / share}
        )
        try:
            goal_of(stricter, shape_of(model), table)
            budget = stricter
            continue
        except SlonikError:
            break
    warn_once(f"the cut takes {share:.3f} of the time, measured, and the target is {asked}: nothing smaller was found")
    return found


def _better(
    model: PreTrainedModel,
    budget: Budget,
    mixed: Callable[[Budget], Cut],
    layers: Callable[[int], tuple[int, ...]],
    judge: Original,
    table: LatencyTable | None,
) -> Cut:
    """The cut that moves the vectors of the judge's texts less; of equal ones the mixed one."""
    found = mixed(budget)
    losses = {MIXED: judge.loss(judge.vectors(found.model))}
    best, name = found, MIXED
    count = _affordable(model, budget, table)
    if count is not None and count != len(found.plan.layers):
        plan = keep_layers(whole(model), layers(count))
        rival = Cut(apply(model, plan), plan)
        losses[LAYERS] = judge.loss(judge.vectors(rival.model))
        if losses[LAYERS] < losses[MIXED]:
            best, name = rival, LAYERS
    told = {"kept": name, "moved": {each: round(loss, 4) for each, loss in losses.items()}}
    return Cut(best.model, best.plan, found.summary | {"compared": told})


def _affordable(model: PreTrainedModel, budget: Budget, table: LatencyTable | None) -> int | None:
    """How many whole layers the target pays for; None where layers are not free to go, or none can stay."""
    if budget.layers is not None or budget.keep_layers is not None:
        return None
    if not budget.heads == budget.ffn == budget.hidden == 1:
        return None
    shape = shape_of(model)
    costs, target = costs_for(budget, shape, table), goal_of(budget, shape, table).cost
    assert target is not None
    heads, ffn = shape.sizes.heads, shape.sizes.ffn
    dearest = sorted(range(shape.depth), key=lambda layer: -costs.total([layer], [heads[layer]], [ffn[layer]]))
    for count in range(shape.depth, max(1, budget.min_layers) - 1, -1):
        kept = sorted(dearest[:count])
        if costs.total(kept, [heads[layer] for layer in kept], [ffn[layer] for layer in kept]) <= target * (1 + 1e-9):
            return count
    return None


def _cost(cut: PreTrainedModel, budget: Budget, table: LatencyTable, model: PreTrainedModel) -> float:
    """The share of the time that the table foresees."""
    return costs_for(budget, shape_of(cut), table).whole() / costs_for(budget, shape_of(model), table).whole()
