"""Cut structures out of an encoder: exactly the layers asked for, or what a budget and importance scores choose.

Whole layers are chosen by how well the rest agrees with the original when nothing is trained (see `depth`); heads,
neurons and dimensions by an importance criterion, in many small steps with scoring anew before each: one big step ruins
a model, small ones do not. (TextPruner, XLM-R to 6 heads x 1536 neurons: 45 % accuracy in one step, 92 % in sixteen.)
Where a target leaves it open what goes, layers, heads and neurons are weighed by measured losses (see `ablation`), and
what is found is looked at before it is believed (see `budgeted`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from slonik.compression import latency
from slonik.compression.ablation import Original
from slonik.compression.budgeted import Cut, meet
from slonik.compression.choose import Budget, Goal, choose_goal, costs_for, foreseen, goal_of, rounded, whole_of
from slonik.compression.config import PruneConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.criteria import CRITERIA, Scores
from slonik.compression.depth import LayerCut, search_layers
from slonik.compression.headed import HeadedEncoder
from slonik.compression.importance import importance, pooling_of, scored_by_outputs, text_batches
from slonik.compression.latency import LatencyTable
from slonik.compression.plan import Plan, keep_layers, whole
from slonik.compression.refit import refit
from slonik.compression.shape import ModelShape, shape_of
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.core.passport import Step
from slonik.core.progress import progress_bar
from slonik.models.anatomy import anatomy_of, dissect
from slonik.models.encoder import TorchEncoder
from slonik.models.task_model import TaskModel

_DEPTH_TEXTS = 128
_WEIGHED_TEXTS = 96
_BEAM = 12
_TARGETS = ("target_parameters", "target_flops", "target_latency")


def check_pruning(model: HeadedEncoder, config: PruneConfig) -> None:
    """Refuse, before any work, an importance that this model's head cannot be asked for.

    Raises:
        SlonikError: importance of a head's outputs without such a head, or together with hidden dimensions.
    """
    _check_kept_whole(model, config)
    if config.loss != "outputs":
        return
    if model.task is None or not scored_by_outputs(model.task):
        raise SlonikError(
            f"prune.loss is 'outputs' and {model.name} is {model.kind}: it is for classifiers that read one text; take "
            "'movement'"
        )
    if config.hidden < 1:
        raise SlonikError(
            "prune.loss 'outputs' cannot score hidden dimensions: the head needs them all; take 'movement'"
        )


def _check_kept_whole(model: HeadedEncoder, config: PruneConfig) -> None:
    """Refuse to cut what the model's family keeps whole, and uneven layers where there is no class for them."""
    anatomy = anatomy_of(model.encoder.model)
    for name in anatomy.keeps:
        if getattr(config, name) < 1:
            raise SlonikError(
                f"prune.{name} is {getattr(config, name):g} and {model.name} is {anatomy.family}, whose "
                f"{'hidden dimensions' if name == 'hidden' else name} cannot be cut, for its layers share one table of "
                "position biases: cut layers, neurons (ffn) or the vocabulary"
            )
    if anatomy.keeps and config.uneven:
        raise SlonikError(
            f"prune.uneven: {model.name} is {anatomy.family}, whose layers must be alike: leave --uneven out"
        )
    body = dissect(model.encoder.model)
    if config.keep_layers is not None and body.first_layer_pinned and 0 not in config.keep_layers:
        raise SlonikError(f"prune.keep_layers leaves out layer 0, which {anatomy.family} needs: keep it")


def check_depth(model: PreTrainedModel, config: PruneConfig) -> int:
    """How many layers of the model stay, before any work; a target may leave fewer.

    Raises:
        SlonikError: layers that are not there, or shares, layers and targets that do not go together.
    """
    names = ("layers", "keep_layers", "heads", "ffn", "hidden", "uneven", *_TARGETS)
    Budget(**{name: getattr(config, name) for name in names})
    if config.keep_layers is not None:
        return len(keep_layers(whole(model, with_parent=False), config.keep_layers).layers)
    depth = len(dissect(model).layers)
    if config.layers is not None and config.layers > depth:
        raise SlonikError(f"{config.layers} layers cannot stay: the model has {depth}")
    return config.layers or depth


def prune(
    teacher: TorchEncoder,
    student: TorchEncoder,
    config: PruneConfig,
    sample: CorpusSample,
    seed: int,
    *,
    head: TaskModel | None = None,
) -> tuple[TorchEncoder, Plan, dict[str, Any]]:
    """The student with structures removed, the plan that removed them, and a summary.

    Args:
        head: the task model that the student is the encoder of: what it reads is compared. It is not cut here.

    Raises:
        SlonikError: a budget that cannot be met; the sentence says which is the nearest that can.
    """
    summary: dict[str, Any] = {}
    chosen = _layers(student, config, sample, summary, head)
    if _only_layers(config):
        plan = whole(student.model) if chosen is None else keep_layers(whole(student.model), chosen)
        model = apply(student.model, plan)
    else:
        model, plan = _shrink(teacher, student, config, chosen, sample, seed, summary, head)
    if config.refit and plan != whole(student.model):
        refit(model, student.model, plan, text_batches(student, sample.texts[: config.texts]))
    summary |= {
        "layers": list(plan.layers),
        "heads": [len(kept) for kept in plan.heads],
        "ffn": [len(kept) for kept in plan.ffn],
        "hidden": len(plan.hidden) if plan.hidden is not None else student.hidden_size,
    }
    step = Step(
        command="prune", config=config.model_dump(mode="json"), inputs={"parent": plan.parent}, seed=seed,
        summary=summary,
    )  # fmt: skip
    if plan.hidden is not None and student.has_own_pooler:
        bare: Any = model  # its rows stay in the module behind the pooling: a cut one would give other vectors
        bare.pooler = None
    pruned = TorchEncoder(
        model,
        student.tokenizer,
        student.sentence.cut(plan.hidden, student.hidden_size),
        student.passport.with_step(step),
        name=f"{student.name} (cut)",
        source=student.source,
    )
    return pruned, plan, summary


def _only_layers(config: PruneConfig) -> bool:
    whole_shares = config.heads == config.ffn == config.hidden == 1
    return whole_shares and not any(getattr(config, name) for name in _TARGETS)


def _layers(
    student: TorchEncoder, config: PruneConfig, sample: CorpusSample, summary: dict[str, Any], head: TaskModel | None
) -> tuple[int, ...] | None:
    """Layers to keep where their number is given: the cut that agrees best with the whole model, untrained."""
    if config.keep_layers is not None or config.layers is None:
        return config.keep_layers
    check_depth(student.model, config)
    if config.layers == len(dissect(student.model).layers):
        return None
    best = _best_layers(student, sample, head, config.layers)
    summary["untrained_agreement"] = {"cosine": best.cosine, "correlation": best.correlation}
    return best.layers


def _best_layers(student: TorchEncoder, sample: CorpusSample, head: TaskModel | None, count: int) -> LayerCut:
    batches = text_batches(student, sample.texts[:_DEPTH_TEXTS])
    found = search_layers(student.model, batches, pooling_of(student, head), count, width=_BEAM)
    return max(found, key=lambda cut: cut.score)


def _shrink(
    teacher: TorchEncoder,
    student: TorchEncoder,
    config: PruneConfig,
    chosen: tuple[int, ...] | None,
    sample: CorpusSample,
    seed: int,
    summary: dict[str, Any],
    head: TaskModel | None,
) -> tuple[PreTrainedModel, Plan]:
    """Cut by scores, in `config.steps` steps."""
    names = ("heads", "ffn", "hidden", "uneven", *_TARGETS)
    budget = Budget(keep_layers=chosen, **{name: getattr(config, name) for name in names})
    table = latency.measure(student.model) if config.target_latency else None
    score = _scorer(teacher, student, config, sample, seed, head)

    def by_search(wanted: Budget) -> Cut:
        made = shrink(student.model, wanted, score, steps=config.steps, latency=table)
        told: dict[str, Any] = {"parameters_by_step": list(made.parameters)}
        if made.foreseen:
            told["loss_by_step"] = {"foreseen": made.foreseen, "measured": made.measured}
        return Cut(made.model, made.plan, told)

    if not any(getattr(config, name) for name in _TARGETS):
        found = by_search(budget)
    else:
        pool = pooling_of(student, head, narrower=config.hidden < 1)
        others = sample.texts[_DEPTH_TEXTS : 2 * _DEPTH_TEXTS] or sample.texts
        judge = Original(student.model, text_batches(student, others), pool)
        known: dict[int, tuple[int, ...]] = {}

        def layers(count: int) -> tuple[int, ...]:
            if count not in known:
                known[count] = _best_layers(student, sample, head, count).layers
            return known[count]

        found = meet(student.model, budget, by_search, layers, judge, table)
    summary |= found.summary
    return found.model, found.plan


def _scorer(
    teacher: TorchEncoder,
    student: TorchEncoder,
    config: PruneConfig,
    sample: CorpusSample,
    seed: int,
    head: TaskModel | None,
) -> Callable[[PreTrainedModel], Scores]:
    """The criterion on the loss that the recipe names; for a target, with losses measured in one unit."""
    asked = importance(teacher, student, config, sample, seed, head)
    criterion = CRITERIA[config.criterion]
    kinds = ({"heads", "ffn"} | ({"hidden"} if config.hidden < 1 else set())) - set(shape_of(student.model).keeps)
    original = None
    if any(getattr(config, name) for name in _TARGETS):
        pool = pooling_of(student, head, narrower=config.hidden < 1)
        original = Original(student.model, text_batches(student, sample.texts[:_WEIGHED_TEXTS]), pool)

    def score(model: PreTrainedModel) -> Scores:
        loss = asked.first if model is student.model else asked.later
        scores: Scores = criterion(model, asked.batches, loss, kinds)
        if original is None:
            return scores
        removed = original.removed(model, scores)
        return scores.with_losses(removed.layers, removed.heads, removed.ffn, before=removed.before)

    return score


@dataclass(frozen=True)
class Shrunk:
    """The cut model, the plan in the original's indices, and the parameters after every step.

    Attributes:
        foreseen, measured: how much the loss was to grow in every step, and how much it grew (the last step's is not
            measured); empty where losses were not measured.
    """

    model: PreTrainedModel
    plan: Plan
    parameters: tuple[int, ...]
    foreseen: tuple[float, ...] = ()
    measured: tuple[float, ...] = ()


def shrink(
    model: PreTrainedModel,
    budget: Budget,
    score: Callable[[PreTrainedModel], Scores],
    *,
    steps: int = 8,
    latency: LatencyTable | None = None,
    recover: Callable[[PreTrainedModel, int], PreTrainedModel] | None = None,
) -> Shrunk:
    """Cut `model` to `budget` in `steps` steps.

    The plan that comes out counts in the original model's indices, so one `surgery.apply` repeats all steps at once if
    nothing was trained between them.

    Args:
        score: gives the importance of the model that it is handed, after each step a smaller one.
        latency: measured block times, for a latency target.
        recover: trains the model cut so far (and is told the step); what it returns is cut further.

    Raises:
        SlonikError: a budget that cannot be met; nothing has been scored or cut by then.
    """
    shape = shape_of(model)
    final = goal_of(budget, shape, latency)
    choose_goal(_flat_scores(shape), final, budget, latency=latency)  # raises where the budget cannot be met
    plan = whole(model)
    counts: list[int] = []
    grown: list[float] = []
    losses: list[float] = []
    with progress_bar("pruning", total=steps) as bar:
        for step in range(1, steps + 1):
            scores = score(model)
            goal = _here(_between(shape, final, budget, latency, step / steps), plan)
            part = choose_goal(scores, goal, budget, latency=latency)
            if scores.before is not None:
                grown.append(round(foreseen(scores, part), 5))
                losses.append(scores.before)
            if part != whole_of(scores.shape):
                model = apply(model, part, check_parent=False)
                plan = plan.then(part)
                if recover is not None and step < steps:
                    model = recover(model, step)
            counts.append(shape_of(model).parameters())
            bar.advance(parameters=f"{counts[-1] / 1e6:.2f} M")
    measured = tuple(round(after - before, 5) for before, after in pairwise(losses))
    return Shrunk(model, plan, tuple(counts), tuple(grown), measured)


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


def _flat_scores(shape: ModelShape) -> Scores:
    """Scores that tell nothing apart: what a budget can be met with does not depend on them."""
    sizes = shape.sizes
    return Scores(
        criterion="flat",
        shape=shape,
        examples=0,
        heads=None if "heads" in shape.keeps else tuple(np.ones(count) for count in sizes.heads),
        ffn=tuple(np.ones(count) for count in sizes.ffn),
        layers=np.ones(shape.depth),
        hidden=np.ones(sizes.hidden),
    )
