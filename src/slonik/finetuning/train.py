"""Train one task model on one division of the items with one seed: a run of the loop with early stopping.

Nothing is measured here but the stopping set; it is a share of the fitting items, never of what is reported.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from slonik.core.errors import SlonikError
from slonik.finetuning.config import Teaching, Tuning
from slonik.finetuning.items import Item, fields_of, labelled_fields
from slonik.finetuning.outputs import Floats, FrozenStates, outputs_of, padding_of, probabilities, tokenizer_of
from slonik.models.encoder import TorchEncoder
from slonik.models.piece_masking import PieceMasking
from slonik.models.task_config import TaskConfig
from slonik.models.task_model import TaskModel, new_task_model
from slonik.models.text_pairs import Fields
from slonik.text.tokenizers.pieces_of import pieces_of
from slonik.train.example_loader import ExampleLoader
from slonik.train.loop import run
from slonik.train.objectives.supervised import Supervised
from slonik.train.run_state import RunSummary
from slonik.train.train_config import TrainConfig

LARGE_TABLE_ROWS = 4096
TRAINED = "trained.safetensors"
FEW_STOPPING = 100

Score = Callable[[Sequence[Floats]], float]
"""Probabilities of the stopping items -> figure, the greater the better."""


@dataclass(frozen=True)
class Division:
    """Items of one run and the figure that early stopping looks at."""

    fit: list[Item]
    stop: list[Item]
    score: Score
    teacher: list[Floats] | None = None
    """Of the fitting items: the teachers' probabilities at their temperature."""


def train_task(
    base: TorchEncoder,
    config: TaskConfig,
    division: Division,
    tuning: Tuning,
    teaching: Teaching,
    folder: Path,
    seed: int,
    start: Mapping[str, Any] | None = None,
    states: FrozenStates | None = None,
) -> tuple[TaskModel, RunSummary]:
    """A trained task model with the weights of its best look at the stopping set.

    Args:
        base: the encoder to start from; it is copied, not changed.
        folder: for checkpoints and the log; the same call after a crash goes on from there.
        start: further facts that must be equal to resume (hash of the base).
        states: of the base, for an encoder that is not trained: it is run once per text instead of once per epoch.
    """
    model = new_task_model(copy_of(base), config, seed=seed)
    fields = labelled_fields(division.fit, tokenizer_of(model), config.target, seed=seed)
    if division.teacher is not None:
        fields = [{**one, "teacher": soft} for one, soft in zip(fields, division.teacher, strict=True)]
    fields = states.add_to(fields) if states is not None else fields
    loader = ExampleLoader(
        fields, padding_of(tokenizer_of(model)), max_texts=tuning.batch_texts, max_tokens=tuning.batch_tokens, seed=seed
    )
    objective = Supervised(
        config.target,  # type: ignore[arg-type]
        label_smoothing=tuning.label_smoothing,
        teacher_weight=teaching.weight if division.teacher is not None else 0.0,
        temperature=teaching.temperature,
    )
    plan = train_config(tuning, len(loader.plan(0)), seed)
    identity = {"task": config.model_dump(mode="json"), **(start or {})}
    with prepared(model, tuning):
        summary = run(
            model,
            objective,
            loader,
            plan,
            folder,
            evaluate=stopping_figures(division, objective, states),
            identity=identity,
        )
    return model, summary


def stopping_figures(
    division: Division, objective: Supervised, states: FrozenStates | None = None
) -> Callable[[nn.Module], dict[str, float]]:
    """The loop's evaluation: `score` of the stopping set, its loss, and `choice`, which early stopping follows.

    With fewer than 100 stopping items that is the loss alone: their score moves in steps larger than what is to be
    told apart. With more it is the score, less a tenth of the loss, which breaks ties.
    """
    cache: dict[str, list[Fields]] = {}

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, TaskModel)
        tokenizer, target = tokenizer_of(model), model.config.target
        if not cache:
            plain = fields_of(division.stop, tokenizer)
            cache["plain"] = states.add_to(plain) if states is not None else plain
            cache["labelled"] = labelled_fields(division.stop, tokenizer, target, most_candidates=10**6)
        outputs = outputs_of(model, cache["plain"])
        losses = [
            objective_loss(objective, output, one["label"])
            for output, one in zip(outputs, cache["labelled"], strict=True)
        ]
        loss = float(np.mean(losses))
        score = division.score(probabilities(outputs, target))
        score = score if math.isfinite(score) else 0.0  # the correlation of a constant answer is none
        return {
            "score": score,
            "loss": loss,
            "choice": -loss if len(outputs) < FEW_STOPPING else score - 0.1 * min(loss, 5.0),
        }

    return evaluate


def objective_loss(objective: Supervised, output: Floats, label: Any) -> float:
    """The loss of one example's outputs, labels only."""
    batch = {"label": torch.from_numpy(np.asarray(label)).unsqueeze(0)}
    return float(objective.of_outputs(torch.from_numpy(output).unsqueeze(0), batch).total)


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
    tables = [part.weight for part in base.model.modules() if isinstance(part, nn.Embedding)]
    shared = {id(table): table for table in tables if len(table) >= LARGE_TABLE_ROWS}
    model = copy.deepcopy(base.model, memo=dict(shared))
    return TorchEncoder(
        model, base.tokenizer, base.sentence, base.passport, name=base.name, source=base.source, autocast=base.autocast
    )


@contextmanager
def prepared(model: Any, tuning: Tuning) -> Iterator[None]:
    """Freeze what is not trained and keep it out of the state that is saved; dropout and masking for training.

    A frozen table of 250,000 rows is most of a small model: saving it at every better look would take longer than
    looking.

    Args:
        model: a `TaskModel`, or another module with a `transformer`.

    Raises:
        SlonikError: pieces are to be hidden, and the model is no encoder or its tokenizer has no mask token.
    """
    masking = _masking(model, tuning.masked_pieces)
    encoder, frozen = model.transformer, set()
    tables = [part for part in encoder.modules() if isinstance(part, nn.Embedding)]
    large = [part for part in tables if part.num_embeddings >= LARGE_TABLE_ROWS]
    if tuning.freeze == "nothing":
        for part in large:
            part.weight = nn.Parameter(part.weight.detach().clone())
    chosen = {"nothing": [], "embeddings": [p.weight for p in large], "encoder": list(encoder.parameters())}
    for parameter in chosen[tuning.freeze]:
        parameter.requires_grad_(False)
        frozen.add(id(parameter))
    names = {name for name, parameter in model.named_parameters() if id(parameter) in frozen}
    hook = model.register_state_dict_post_hook(_without(names))
    dropouts = _set_dropout(encoder, tuning.encoder_dropout)
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
        for parameter in encoder.parameters():
            parameter.requires_grad_(True)


def _masking(model: Any, share: float) -> PieceMasking | None:
    if not share:
        return None
    if not isinstance(model, TaskModel):
        raise SlonikError("masked_pieces hides pieces of an encoder's input, and this is no encoder with a head: set 0")
    pieces = pieces_of(model.encoder.tokenizer, rows=model.encoder.model.get_input_embeddings().num_embeddings)
    return PieceMasking(share, pieces.need("mask", "masked_pieces"), torch.from_numpy(pieces.special))


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


def save_trained(model: TaskModel, folder: Path, freeze: str) -> None:
    """Write the trained weights alone; the base has the rest."""
    state = model.state_dict()
    frozen = _frozen_names(model, freeze)
    save_file({name: tensor.contiguous() for name, tensor in state.items() if name not in frozen}, folder / TRAINED)


def load_trained(base: TorchEncoder, config: TaskConfig, folder: Path) -> TaskModel:
    """The task model whose trained weights `save_trained` wrote."""
    model = new_task_model(copy_of(base), config)
    tensors = load_file(folder / TRAINED)
    for part in model.transformer.modules():
        if isinstance(part, nn.Embedding) and part.num_embeddings >= LARGE_TABLE_ROWS:
            part.weight = nn.Parameter(part.weight.detach().clone())  # the base's own stays as it is
    model.load_state_dict(tensors, strict=False)
    return model.eval()


def _frozen_names(model: TaskModel, freeze: str) -> set[str]:
    if freeze == "nothing":
        return set()
    if freeze == "encoder":
        return {name for name, _ in model.named_parameters() if name.startswith("transformer.")}
    tables = {
        id(part.weight)
        for part in model.transformer.modules()
        if isinstance(part, nn.Embedding) and part.num_embeddings >= LARGE_TABLE_ROWS
    }
    return {name for name, parameter in model.named_parameters() if id(parameter) in tables}
