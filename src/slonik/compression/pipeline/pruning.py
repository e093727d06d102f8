"""Cut structures out of an encoder: exactly the layers asked for, or what a budget and importance scores choose.

Whole layers are chosen by how well the rest agrees with the original when nothing is trained (`compress.depth`);
heads, neurons and dimensions by an importance criterion, in many small steps with scoring between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedModel

from slonik.compression import latency
from slonik.compression.budget import Budget
from slonik.compression.criteria import CRITERIA
from slonik.compression.depth import leave_one_out, search_layers
from slonik.compression.iterative import shrink
from slonik.compression.pipeline.config import PruneConfig
from slonik.compression.pipeline.corpus import CorpusSample
from slonik.compression.pipeline.importance import importance, pooling_of, text_batches
from slonik.compression.plan import Plan, keep_layers, whole
from slonik.compression.refit import refit
from slonik.compression.scores import Scores
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.core.passport import Step
from slonik.models.encoder import TorchEncoder

_DEPTH_TEXTS = 128
_BEAM = 12
_TARGETS = ("target_parameters", "target_flops", "target_latency")


def prune(
    teacher: TorchEncoder, student: TorchEncoder, config: PruneConfig, sample: CorpusSample, seed: int
) -> tuple[TorchEncoder, Plan, dict[str, Any]]:
    """The student with structures removed, the plan that removed them, and a summary.

    Raises:
        SlonikError: a budget that cannot be met; the sentence says which is the nearest that can.
    """
    summary: dict[str, Any] = {}
    chosen = _layers(student, config, sample, summary)
    if _only_layers(config):
        plan = whole(student.model) if chosen is None else keep_layers(whole(student.model), chosen)
        model = apply(student.model, plan)
    else:
        model, plan = _shrink(teacher, student, config, chosen, sample, seed, summary)
    if config.refit and plan != whole(student.model):
        refit(model, student.model, plan, text_batches(student, sample.texts[: config.texts]))
    summary |= {
        "layers": list(plan.layers),
        "heads": [len(kept) for kept in plan.heads],
        "ffn": [len(kept) for kept in plan.ffn],
        "hidden": len(plan.hidden) if plan.hidden is not None else student.dimension,
    }
    step = Step(
        command="prune", config=config.model_dump(mode="json"), inputs={"parent": plan.parent}, seed=seed,
        summary=summary,
    )  # fmt: skip
    pruned = TorchEncoder(
        model,
        student.tokenizer,
        student.sentence,
        student.passport.with_step(step),
        name=f"{student.name} (cut)",
        source=student.source,
    )
    return pruned, plan, summary


def _only_layers(config: PruneConfig) -> bool:
    whole_shares = config.heads == config.ffn == config.hidden == 1
    return whole_shares and not any(getattr(config, name) for name in _TARGETS)


def _layers(
    student: TorchEncoder, config: PruneConfig, sample: CorpusSample, summary: dict[str, Any]
) -> tuple[int, ...] | None:
    """Layers to keep where their number is given: the cut that agrees best with the whole model, untrained."""
    if config.keep_layers is not None or config.layers is None:
        return config.keep_layers
    depth = int(student.model.config.num_hidden_layers)
    Budget(layers=config.layers)  # refuses zero
    if config.layers > depth:
        raise SlonikError(f"{config.layers} layers cannot stay: the model has {depth}")
    if config.layers == depth:
        return None
    batches = text_batches(student, sample.texts[:_DEPTH_TEXTS])
    found = search_layers(student.model, batches, pooling_of(student), config.layers, width=_BEAM)
    best = max(found, key=lambda cut: cut.score)
    summary["untrained_agreement"] = {"cosine": best.cosine, "correlation": best.correlation}
    return best.layers


def _shrink(
    teacher: TorchEncoder,
    student: TorchEncoder,
    config: PruneConfig,
    chosen: tuple[int, ...] | None,
    sample: CorpusSample,
    seed: int,
    summary: dict[str, Any],
) -> tuple[PreTrainedModel, Plan]:
    """Cut by scores, in `config.steps` steps."""
    names = ("heads", "ffn", "hidden", "uneven", *_TARGETS)
    budget = Budget(keep_layers=chosen, **{name: getattr(config, name) for name in names})
    table = latency.measure(student.model) if config.target_latency else None
    score = _scorer(teacher, student, config, sample, seed, chosen)
    made = shrink(student.model, budget, score, steps=config.steps, latency=table)
    summary["parameters_by_step"] = list(made.parameters)
    return made.model, made.plan


def _scorer(
    teacher: TorchEncoder,
    student: TorchEncoder,
    config: PruneConfig,
    sample: CorpusSample,
    seed: int,
    chosen: tuple[int, ...] | None,
) -> Callable[[PreTrainedModel], Scores]:
    """The criterion on the loss that the recipe names."""
    asked = importance(teacher, student, config, sample, seed)
    criterion = CRITERIA[config.criterion]
    kinds = {"heads", "ffn"} | ({"hidden"} if config.hidden < 1 else set())

    def score(model: PreTrainedModel) -> Scores:
        loss = asked.first if model is student.model else asked.later
        scores: Scores = criterion(model, asked.batches, loss, kinds)
        if chosen is None and any(getattr(config, name) for name in _TARGETS):
            return scores.with_layers(leave_one_out(model, asked.batches, pooling_of(student)))
        return scores

    return score
