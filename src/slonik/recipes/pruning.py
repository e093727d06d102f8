"""Cut structures out of an encoder: exactly the layers asked for, or what a budget and importance scores choose.

Whole layers are chosen by how well the rest agrees with the original when nothing is trained (`compress.depth`);
heads, neurons and dimensions by an importance criterion, in many small steps with scoring between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from slonik.compress import latency
from slonik.compress.budget import Budget
from slonik.compress.criteria import CRITERIA
from slonik.compress.depth import leave_one_out, search_layers
from slonik.compress.iterative import shrink
from slonik.compress.plan import Plan, keep_layers, whole
from slonik.compress.refit import refit
from slonik.compress.scores import Scores
from slonik.compress.surgery import apply
from slonik.core.errors import SlonikError
from slonik.core.passport import Step
from slonik.models.encoder import TorchEncoder
from slonik.models.pooling import pool
from slonik.objectives.closeness import pair_closeness_loss, probe_loss
from slonik.objectives.padding import pad
from slonik.recipes.compress_config import PruneConfig
from slonik.recipes.compress_corpus import CorpusSample

Batch = dict[str, Tensor]

_BATCH_TEXTS = 16
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
    del teacher  # the trimmed student computes what the teacher does until something is cut
    summary: dict[str, Any] = {}
    chosen = _layers(student, config, sample, summary)
    if _only_layers(config):
        plan = whole(student.model) if chosen is None else keep_layers(whole(student.model), chosen)
        model = apply(student.model, plan)
    else:
        model, plan = _shrink(student, config, chosen, sample, seed, summary)
    if config.refit and plan != whole(student.model):
        refit(model, student.model, plan, _batches(student, sample.texts[: config.texts]))
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
    batches = _batches(student, sample.texts[:_DEPTH_TEXTS])
    found = search_layers(student.model, batches, _pool(student), config.layers, width=_BEAM)
    best = max(found, key=lambda cut: cut.score)
    summary["untrained_agreement"] = {"cosine": best.cosine, "correlation": best.correlation}
    return best.layers


def _shrink(
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
    batches = _scoring_batches(student, config, sample)
    made = shrink(
        student.model, budget, _scorer(student, config, batches, seed, chosen), steps=config.steps, latency=table
    )
    summary["parameters_by_step"] = list(made.parameters)
    return made.model, made.plan


def _scorer(
    student: TorchEncoder, config: PruneConfig, batches: list[Batch], seed: int, chosen: tuple[int, ...] | None
) -> Callable[[PreTrainedModel], Scores]:
    """The criterion on the closeness of translations; without pairs, on how far sentence vectors move."""
    pooling = _pool(student)
    paired = bool(batches) and "pair_input_ids" in batches[0]
    loss = pair_closeness_loss(pooling) if paired else probe_loss(pooling, seed=seed)
    criterion = CRITERIA[config.criterion]
    kinds = {"heads", "ffn"} | ({"hidden"} if config.hidden < 1 else set())

    def score(model: PreTrainedModel) -> Scores:
        scores: Scores = criterion(model, batches, loss, kinds)
        if chosen is None and any(getattr(config, name) for name in _TARGETS):
            return scores.with_layers(leave_one_out(model, batches, pooling))
        return scores

    return score


def _scoring_batches(student: TorchEncoder, config: PruneConfig, sample: CorpusSample) -> list[Batch]:
    if not sample.pairs:
        return _batches(student, sample.texts[: config.texts])
    russian = _batches(student, [pair[1] for pair in sample.pairs[: config.texts]])
    english = _batches(student, [pair[0] for pair in sample.pairs[: config.texts]])
    return [
        left | {f"pair_{name}": value for name, value in right.items()}
        for left, right in zip(russian, english, strict=True)
    ]


def _batches(student: TorchEncoder, texts: Sequence[str]) -> list[Batch]:
    """Padded batches with the model's own prefix, in the order of the texts."""
    padding = int(getattr(student.model.config, "pad_token_id", 0) or 0)
    rows = [np.asarray(row, dtype=np.int64) for row in student.tokenize(texts, None, 64)]
    return [pad(rows[start : start + _BATCH_TEXTS], padding) for start in range(0, len(rows), _BATCH_TEXTS)]


def _pool(student: TorchEncoder) -> Callable[[Tensor, Tensor], Tensor]:
    kind = "cls" if student.sentence.pooling == "cls" else "mean"

    def pooling(hidden: Tensor, mask: Tensor) -> Tensor:
        return pool(hidden, mask, kind)

    return pooling
