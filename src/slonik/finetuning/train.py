"""How a model is made ready for the training loop: the loop's settings, a copy of the encoder, what is frozen.

Used by every learner of this room and by taggers; nothing is trained here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from slonik.core.errors import SlonikError
from slonik.finetuning.config import Tuning
from slonik.models.encoder import TorchEncoder
from slonik.models.lora import LowRank, LowRankSize, linear_layers
from slonik.models.task_model import TaskModel, TokenMasking
from slonik.text.tokenizers.token_facts import token_facts
from slonik.train.train_config import TrainConfig

LARGE_TABLE_ROWS = 4096


def train_config(tuning: Tuning, batches: int, seed: int) -> TrainConfig:
    """The loop's settings for an epoch of `batches` batches."""
    steps = max(1, math.ceil(tuning.epochs * batches))
    if tuning.max_steps is not None:
        steps = min(steps, tuning.max_steps)
    every = max(1, round(min(batches, steps) / tuning.evaluations))
    return TrainConfig(
        max_steps=steps,
        seed=seed,
        optimizer=tuning.optimizer,
        learning_rate=tuning.learning_rate,
        layer_decay=tuning.layer_decay,
        schedule=tuning.schedule,
        warmup_ratio=tuning.warmup_ratio,
        weight_decay=tuning.weight_decay,
        clip_norm=tuning.clip_norm,
        precision=tuning.precision,
        embeddings="lazy" if tuning.freeze == "nothing" else "frozen",
        evaluate_every_steps=every,
        best_metric="choice",
        patience=tuning.patience,
        save_every_minutes=tuning.save_every_minutes,
    )


def copy_of(base: TorchEncoder) -> TorchEncoder:
    """The same encoder with weights of its own; large tables are shared, for they stay as they are unless trained."""
    shared = {id(table.weight): table.weight for table in large_tables(base.model)}
    model = copy.deepcopy(base.model, memo=dict(shared))
    return TorchEncoder(
        model, base.tokenizer, base.sentence, base.passport, name=base.name, source=base.source, autocast=base.autocast
    )


def large_tables(model: nn.Module) -> list[nn.Embedding]:
    """Embedding tables that are most of a small model: shared between copies, and frozen by default."""
    tables = [part for part in model.modules() if isinstance(part, nn.Embedding)]
    return [table for table in tables if table.num_embeddings >= LARGE_TABLE_ROWS]


def own_tables(model: nn.Module) -> None:
    """Give a copy its own large tables; those of the base stay as they are."""
    for table in large_tables(model):
        table.weight = nn.Parameter(table.weight.detach().clone())


def frozen_names(model: Any, freeze: str) -> set[str]:
    """Names of the parameters that are not trained: none, those of large tables, or all of the transformer."""
    chosen = {
        "nothing": [],
        "embeddings": [table.weight for table in large_tables(model.transformer)],
        "encoder": list(model.transformer.parameters()),
    }
    frozen = {id(parameter) for parameter in chosen[freeze]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in frozen}


@contextmanager
def prepared(model: Any, tuning: Tuning) -> Iterator[None]:
    """Freeze what is not trained and keep it out of the state that is saved; dropout and masking for training.

    A frozen table of 250,000 rows is most of a small model: saving it at every better evaluation would take
    longer than the evaluation.

    Args:
        model: a `TaskModel`, or another module with a `transformer`.

    Raises:
        SlonikError: tokens are to be hidden, and the model is no encoder or its tokenizer has no mask token.
    """
    masking = _masking(model, tuning.masked_pieces)
    if tuning.freeze == "nothing":
        own_tables(model.transformer)
    names = frozen_names(model, tuning.freeze)
    parameters = dict(model.named_parameters())
    for name in names:
        parameters[name].requires_grad_(False)
    matrices = None if tuning.lora is None else _low_rank(model.transformer, tuning)
    if matrices is not None:
        names = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    hook = model.register_state_dict_post_hook(_without(names))
    dropouts = _set_dropout(model.transformer, tuning.encoder_dropout)
    if masking is not None:
        model.masking = masking
    try:
        yield
    finally:
        hook.remove()
        if masking is not None:
            model.masking = None
        for dropout, before in dropouts:
            dropout.p = before
        if matrices is not None:
            matrices.merge()
        for parameter in model.transformer.parameters():
            parameter.requires_grad_(True)


def _low_rank(transformer: nn.Module, tuning: Tuning) -> LowRank:
    assert tuning.lora is not None
    return LowRank(transformer, LowRankSize(tuning.lora, tuning.lora_alpha), linear_layers(transformer))


@contextmanager
def adapted(model: nn.Module, tuning: Tuning) -> Iterator[None]:
    """A language model with low-rank matrices, where the settings want some, which are merged at the end."""
    if tuning.lora is None:
        yield
        return
    matrices = _low_rank(model, tuning)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    hook = model.register_state_dict_post_hook(_without(frozen))
    try:
        yield
    finally:
        hook.remove()
        matrices.merge()


def _masking(model: Any, share: float) -> TokenMasking | None:
    if not share:
        return None
    if not isinstance(model, TaskModel):
        raise SlonikError("masked_pieces hides tokens of an encoder's input, and this is no encoder with a head: set 0")
    tokens = token_facts(model.encoder.tokenizer, rows=model.encoder.model.get_input_embeddings().num_embeddings)
    return TokenMasking(share, tokens.need("mask", "masked_pieces"), torch.from_numpy(tokens.special))


def _without(names: set[str]) -> Callable[..., None]:
    def drop(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
        for name in names:
            state.pop(prefix + name, None)

    return drop


def _set_dropout(encoder: nn.Module, rate: float | None) -> list[tuple[nn.Dropout, float]]:
    if rate is None:
        return []
    parts = [part for part in encoder.modules() if isinstance(part, nn.Dropout)]
    before = [(part, part.p) for part in parts]
    for part in parts:
        part.p = rate
    return before
