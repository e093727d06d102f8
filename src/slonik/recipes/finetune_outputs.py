"""Outputs of a task model for any number of examples, in their order, and the probabilities they stand for.

Batches are cut by token budget; what a batch is made of does not change an example's outputs beyond rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slonik.core.batching import token_budget_batches
from slonik.core.progress import track
from slonik.models.task_model import TaskModel
from slonik.models.text_pairs import Fields, PairTokenizer
from slonik.objectives.supervised import soft_answers
from slonik.recipes.finetune_items import Item, fields_of
from slonik.train.example_loader import PadFields

Floats = NDArray[np.float32]
_BATCHES_WORTH_A_BAR = 40


def tokenizer_of(model: TaskModel) -> PairTokenizer:
    """The tokenizer of a task model, with its length."""
    return PairTokenizer(model.encoder.tokenizer, model.max_length)


def padding_of(tokenizer: PairTokenizer) -> PadFields:
    """How batches of this tokenizer's fields are padded."""
    return PadFields({"input_ids": tokenizer.pad_id})


def outputs_of(
    model: TaskModel,
    fields: Sequence[Fields],
    *,
    batch_tokens: int = 4096,
    batch_texts: int = 64,
    autocast: bool = True,
) -> list[Floats]:
    """The head's outputs per example, cut to the example's own candidates or tokens; float32.

    Args:
        fields: token fields of examples, without labels (labels are left out).
        autocast: matrix products in bfloat16.
    """
    pad = padding_of(tokenizer_of(model))
    plain = [{name: array for name, array in one.items() if name not in ("label", "teacher")} for one in fields]
    batches = token_budget_batches([one["input_ids"].size for one in plain], batch_tokens, batch_texts)
    found: list[Floats | None] = [None] * len(plain)
    steps = track(batches, f"answering with {model.encoder.name}") if len(batches) > _BATCHES_WORTH_A_BAR else batches
    training = model.training
    model.eval()
    with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=autocast):
        for batch in steps:
            tensors = {name: tensor.to(model.device) for name, tensor in pad([plain[i] for i in batch]).items()}
            outputs = model(tensors).float().cpu().numpy()
            for place, number in enumerate(batch):
                found[number] = _own(outputs[place], plain[number], model.config.target)
    model.train(training)
    return [one for one in found if one is not None]


def _own(output: Floats, fields: Fields, target: str) -> Floats:
    if target == "choice":
        return output[: fields["input_ids"].shape[0]]
    return output[:, : len(fields["input_ids"])] if target == "answer" else output


def probabilities(outputs: Sequence[Floats], target: Any, temperature: float = 1.0) -> list[Floats]:
    """Outputs as probabilities (numbers as they are), per example."""
    return [soft_answers(torch.from_numpy(one), target, temperature).numpy() for one in outputs]


def answer(model: TaskModel, items: Sequence[Item], *, batch_texts: int = 64, autocast: bool = True) -> list[Floats]:
    """Probabilities of a task model for items, per item."""
    fields = fields_of(items, tokenizer_of(model))
    return probabilities(outputs_of(model, fields, batch_texts=batch_texts, autocast=autocast), model.config.target)
