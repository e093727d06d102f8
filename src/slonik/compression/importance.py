"""What the importance of heads, neurons and dimensions is taken of: batches of texts and a loss without labels.

`pairs`: closeness of translations (the way of prune_labse_en_ru); `movement`: how far sentence vectors move (with the
Fisher criterion, its exact measure); `original`: distance to the original's vectors; `mlm`: masked words.
Does not: compute scores (see `criteria`) or cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slonik.compression.config import PruneConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.criteria import Batch, LossFunction
from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.models.encoder import TorchEncoder
from slonik.models.heads.stock import StockHead
from slonik.models.language_model import load_language_model
from slonik.models.padding import pad
from slonik.models.pipeline import pool_modes
from slonik.models.pooling import pool
from slonik.models.task_model import TaskModel
from slonik.models.vocabulary import matching_ids
from slonik.text.tokenizers.token_facts import token_facts
from slonik.train.objectives.closeness import pair_closeness_loss, probe_loss, teacher_distance_loss
from slonik.train.objectives.masking import IGNORED, mask_tokens
from slonik.train.objectives.vocabulary_head import vocabulary_head

_BATCH_TEXTS = 16
_MASK_RATE = 0.15


@dataclass(frozen=True)
class Importance:
    """Batches to score on, and the loss in the first round and in later ones, when something has been cut."""

    batches: Sequence[Batch]
    first: LossFunction
    later: LossFunction


def importance(
    teacher: TorchEncoder,
    student: TorchEncoder,
    config: PruneConfig,
    sample: CorpusSample,
    seed: int,
    head: TaskModel | None = None,
) -> Importance:
    """The batches and loss that `config.loss` names.

    None means the outputs of a head that can be asked for them, else pairs where there are any, else movement.

    Raises:
        SlonikError: pairs without pairs, masked words without a language-model head.
    """
    kind = config.loss or ("pairs" if sample.pairs else "movement")
    by_outputs = config.loss == "outputs" or (config.loss is None and config.hidden == 1)
    if head is not None and by_outputs and scored_by_outputs(head):
        return _outputs(head, student, sample, config, seed)
    if head is not None and config.loss is None:
        kind = "movement"  # a head reads no translations
    made: Mapping[str, Callable[[], Importance]] = {
        "pairs": lambda: _pairs(student, sample, config),
        "movement": lambda: _movement(student, sample, config, seed, head),
        "original": lambda: _original(student, sample, config, seed, head),
        "mlm": lambda: _mlm(teacher, student, sample, config, seed),
    }
    return made[kind]()


def scored_by_outputs(head: TaskModel) -> bool:
    """Whether the outputs of a task model are a function of one text's last states alone, as scoring needs them."""
    one_text = head.config.target in ("single", "multi", "number") and head.config.kind == "sequence"
    return one_text and not getattr(head.head, "reads_all_layers", False)


def text_batches(student: TorchEncoder, texts: Sequence[str]) -> list[dict[str, Tensor]]:
    """Padded batches with the model's own prefix, in the order of the texts."""
    rows = student.tokenize(texts, None, 64)
    return [pad(rows[start : start + _BATCH_TEXTS], student.pad_id) for start in range(0, len(rows), _BATCH_TEXTS)]


def pooling_of(
    student: TorchEncoder, head: TaskModel | None = None, *, narrower: bool = False
) -> Callable[[Tensor, Tensor], Tensor]:
    """How the student's sentence vector is made of token states, or the vector that its head reads.

    Args:
        narrower: it must serve fewer hidden dimensions too: what stands behind the pooling, which counts them, is left
            out.
    """
    if head is not None:
        kind = _head_pooling(head)
        return lambda hidden, mask: pool(hidden, mask, kind)
    if narrower:
        modes = student.pipeline.pooling.modes
        return lambda hidden, mask: pool_modes(hidden.float(), mask, modes)
    return student.pipeline.unnormalised


def _head_pooling(head: TaskModel) -> str:
    """What a head reads of a text, as nearly as that can be said of it: "cls" or "mean" of its tokens."""
    if isinstance(head.head, StockHead):
        of_texts = head.config.kind in ("sequence", "pair", "choice")
        return str(getattr(head.head.stock.config, "classifier_pooling", "cls")) if of_texts else "mean"
    return "cls" if getattr(head.head, "pooling", "mean") == "cls" else "mean"


def _pairs(student: TorchEncoder, sample: CorpusSample, config: PruneConfig) -> Importance:
    if not sample.pairs:
        raise SlonikError("prune.loss is 'pairs' and there are no translation pairs: give --pairs, or take 'movement'")
    russian = text_batches(student, [pair[1] for pair in sample.pairs[: config.texts]])
    english = text_batches(student, [pair[0] for pair in sample.pairs[: config.texts]])
    batches = [
        left | {f"pair_{name}": value for name, value in right.items()}
        for left, right in zip(russian, english, strict=True)
    ]
    loss = pair_closeness_loss(pooling_of(student, narrower=config.hidden < 1))
    return Importance(batches, loss, loss)


def _movement(
    student: TorchEncoder, sample: CorpusSample, config: PruneConfig, seed: int, head: TaskModel | None
) -> Importance:
    loss = probe_loss(pooling_of(student, head, narrower=config.hidden < 1), seed=seed)
    return Importance(text_batches(student, sample.texts[: config.texts]), loss, loss)


def _outputs(
    head: TaskModel, student: TorchEncoder, sample: CorpusSample, config: PruneConfig, seed: int, probes: int = 4
) -> Importance:
    """How far the outputs of the head move: log-probabilities (numbers as they are) along random directions, (P, B)."""
    outputs = head.config.outputs
    draw = np.random.default_rng(derive_seed(seed, "importance outputs"))
    directions = torch.from_numpy(draw.choice([-1.0, 1.0], size=(probes, outputs))).float()

    def loss(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        hidden = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
        logits = head.head(hidden, {name: batch[name] for name in ("input_ids", "attention_mask")}).float()
        if head.config.target == "single":
            logits = F.log_softmax(logits, dim=-1)
        return directions.to(logits) @ logits.view(len(hidden), -1).T

    return Importance(text_batches(student, sample.texts[: config.texts]), loss, loss)


def _original(
    student: TorchEncoder, sample: CorpusSample, config: PruneConfig, seed: int, head: TaskModel | None
) -> Importance:
    """At the original itself the distance has no gradient, so the first round asks how far vectors move."""
    batches = text_batches(student, sample.texts[: config.texts])
    pooling = pooling_of(student, head)
    with torch.inference_mode():
        targets = [
            pooling(student.model(**{k: v.to(student.device) for k, v in batch.items()})[0], batch["attention_mask"])
            for batch in batches
        ]
    known = [batch | {"teacher": target.clone()} for batch, target in zip(batches, targets, strict=True)]
    return Importance(known, probe_loss(pooling, seed=seed), teacher_distance_loss(pooling))


def _mlm(
    teacher: TorchEncoder, student: TorchEncoder, sample: CorpusSample, config: PruneConfig, seed: int
) -> Importance:
    """Cross-entropy of masked words through the original's own head, which counts in the original's ids."""
    if config.hidden < 1:
        raise SlonikError("prune.loss 'mlm' cannot score hidden dimensions: the head needs them all; take 'movement'")
    language = load_language_model(teacher.source or teacher.name, "mlm")
    if not language.has_head:
        raise SlonikError(
            f"prune.loss is 'mlm' and {teacher.name} has no language-model head: train one with slonik adapt, or take "
            "'pairs' or 'movement'"
        )
    head = vocabulary_head(language.model)
    to_teacher = torch.from_numpy(matching_ids(student, teacher))
    facts = token_facts(student.tokenizer)
    facts.need("mask", "prune.loss 'mlm'")
    rng = np.random.default_rng(derive_seed(seed, "importance mask"))
    batches = [_masked(batch, facts, to_teacher, rng) for batch in text_batches(student, sample.texts[: config.texts])]

    def loss(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        hidden = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
        asked = batch["labels"] != IGNORED
        entropy = F.cross_entropy(head(hidden[asked]), batch["labels"][asked], reduction="none")
        examples = asked.nonzero()[:, 0]
        sums = hidden.new_zeros(len(hidden)).index_add(0, examples, entropy)
        return sums / asked.sum(1).clamp_min(1)

    return Importance(batches, loss, loss)


def _masked(batch: dict[str, Tensor], facts: Any, to_teacher: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    ids, labels = batch["input_ids"].clone(), torch.full_like(batch["input_ids"], IGNORED)
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        found = mask_tokens(ids[row, :length].numpy(), np.zeros(1, dtype=np.int64), facts, rng, rate=_MASK_RATE)
        ids[row, :length] = torch.from_numpy(found.ids)
        asked = torch.from_numpy(found.labels)
        labels[row, :length] = torch.where(asked == IGNORED, asked, to_teacher[asked.clamp_min(0)])
    return {"input_ids": ids, "attention_mask": batch["attention_mask"], "labels": labels}
