"""Prune in many small steps, scoring anew before each: one big step ruins a model, small ones do not.

(TextPruner, XLM-R to 6 heads x 1536 neurons: 45 % accuracy in one step, 92 % in sixteen.) Between steps a caller may
train a little (`recover`). The plan that comes out counts in the original model's indices, so one `surgery.apply`
repeats all steps at once if nothing was trained between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from transformers import PreTrainedModel

from slonik.compression.budget import Budget, rounded
from slonik.compression.choose import Goal, choose_goal, costs_for, goal_of, whole_of
from slonik.compression.latency import LatencyTable
from slonik.compression.plan import Plan, whole
from slonik.compression.scores import Scores, flat_scores
from slonik.compression.shape import ModelShape, shape_of
from slonik.compression.surgery import apply
from slonik.core.progress import progress_bar

DEFAULT_STEPS = 8


@dataclass(frozen=True)
class Shrunk:
    """The cut model, the plan in the original's indices, and the parameters after every step."""

    model: PreTrainedModel
    plan: Plan
    parameters: tuple[int, ...]


def shrink(
    model: PreTrainedModel,
    budget: Budget,
    score: Callable[[PreTrainedModel], Scores],
    *,
    steps: int = DEFAULT_STEPS,
    latency: LatencyTable | None = None,
    recover: Callable[[PreTrainedModel, int], PreTrainedModel] | None = None,
) -> Shrunk:
    """Cut `model` to `budget` in `steps` steps.

    Args:
        score: gives the importance of the model that it is handed, after each step a smaller one.
        latency: measured block times, for a latency target.
        recover: trains the model cut so far (and is told the step); what it returns is cut further.

    Raises:
        SlonikError: a budget that cannot be met; nothing has been scored or cut by then.
    """
    shape = shape_of(model)
    final = goal_of(budget, shape, latency)
    choose_goal(flat_scores(shape), final, budget, latency=latency)  # raises where the budget cannot be met
    plan = whole(model)
    counts: list[int] = []
    with progress_bar("pruning", total=steps) as bar:
        for step in range(1, steps + 1):
            scores = score(model)
            goal = _here(_between(shape, final, budget, latency, step / steps), plan)
            part = choose_goal(scores, goal, budget, latency=latency)
            if part != whole_of(scores.shape):
                model = apply(model, part, check_parent=False)
                plan = plan.then(part)
                if recover is not None and step < steps:
                    model = recover(model, step)
            counts.append(shape_of(model).parameters())
            bar.advance(parameters=f"{counts[-1] / 1e6:.2f} M")
    return Shrunk(model, plan, tuple(counts))


def _between(shape: ModelShape, final: Goal, budget: Budget, latency: LatencyTable | None, progress: float) -> Goal:
    """The goal after a share of the way: counts on a straight line, costs on a geometric one.

    Layers that are named are a decision made already, so the others go at once; layers chosen by score go gradually.
    """

    def line(start: float, end: float | None) -> float | None:
        return None if end is None else start + (end - start) * progress

    sizes = shape.sizes
    layers = final.layers
    if layers is not None and final.keep is None:
        layers = round(shape.depth + (layers - shape.depth) * progress)
    cost = final.cost
    if cost is not None:
        start = costs_for(budget, shape, latency).whole()
        cost = start * (cost / start) ** progress if cost < start else cost
    hidden = sizes.hidden + (final.hidden - sizes.hidden) * progress
    return Goal(
        layers=layers,
        keep=final.keep,
        heads=line(sum(sizes.heads) / shape.depth, final.heads),
        ffn=line(sum(sizes.ffn) / shape.depth, final.ffn),
        hidden=rounded(hidden, sizes.hidden, max(1, budget.multiple // 2)),
        cost=cost,
    )


def _here(goal: Goal, plan: Plan) -> Goal:
    """The goal with kept layers numbered as in the model cut by `plan`."""
    if goal.keep is None:
        return goal
    return replace(goal, keep=tuple(plan.layers.index(layer) for layer in goal.keep))
