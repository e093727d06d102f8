"""Encoders as learners: a head on a copy of the encoder, early stopping, distillation from task models.

What is kept of a training is the trained weights alone; the encoder that it started from has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn

from slonik import models
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.finetuning.config import Distillation, Tuning
from slonik.finetuning.items import Floats, Item, labelled_fields, token_fields
from slonik.finetuning.learner import TaskAnswerer, TrainingSplit, stopping_metrics
from slonik.finetuning.objective import Supervised
from slonik.finetuning.outputs import FrozenStates, answer, padding_of, tokenizer_of
from slonik.finetuning.train import copy_of, frozen_names, own_tables, prepared, train_config
from slonik.models.encoder import TorchEncoder
from slonik.models.heads import build_head
from slonik.models.heads.stock import has_stock_class
from slonik.models.task_model import TaskModel, load_task_model, new_task_model, save_task_model
from slonik.models.task_outputs import outputs_of
from slonik.text.answers import number_of, probabilities
from slonik.text.label_map import label_map
from slonik.text.pairs import Fields, PairTokenizer
from slonik.text.task_config import TaskConfig
from slonik.train.loaders import example_loader
from slonik.train.loop import run
from slonik.train.run_state import RunSummary

TRAINED = "trained.safetensors"
BALANCED = ("pair", "words", "choice")
STOCK = ("answer",)
"""Kinds of heads that are stock by default."""


@dataclass(frozen=True)
class EncoderAnswerer:
    """A task model behind `TaskAnswerer`.

    Attributes:
        states: of the encoder, where it was not trained.
    """

    model: TaskModel
    states: FrozenStates | None = None

    @property
    def config(self) -> TaskConfig:
        return self.model.config

    @property
    def tokenizer(self) -> Tokenizer:
        return self.model.encoder.tokenizer

    @property
    def max_length(self) -> int:
        return self.model.max_length

    def answer(self, items: Sequence[Item], *, batch_texts: int = 64) -> list[Any]:
        return list(answer(self.model, items, batch_texts=batch_texts, states=self.states))

    def save(self, folder: Path, passport: Passport) -> None:
        save_task_model(self.model, folder, passport)


class EncoderLearner:
    """An encoder that gets a head.

    Args:
        base: the encoder to start from; it is copied, never changed.
    """

    in_words = False
    code = __name__

    def __init__(self, base: TorchEncoder) -> None:
        self.identity = base.identity()
        self.base = base
        self.name, self.passport = base.name, base.passport
        self.tokenizer, self.max_length = base.tokenizer, base.max_length
        self.inputs: Mapping[str, str] = {"parent": base.weights_hash()}
        self._states: FrozenStates | None = None

    def settings(self, wanted: Mapping[str, Any], explicit: Mapping[str, Any]) -> dict[str, Any]:
        """The task's settings under the user's; a learning rate by the width of the encoder."""
        fixed = {**wanted, **explicit}
        return {"learning_rate": usual_rate(self.base.dimension, fixed.get("freeze")), **fixed}

    def too_long(self, config: TaskConfig) -> Callable[[tuple[str, ...]], bool]:
        """See `Learner.too_long`."""
        pairs = PairTokenizer(self.tokenizer, min(config.max_length, self.max_length))

        def cut(texts: tuple[str, ...]) -> bool:
            before = pairs.cut_rows
            for row in [texts] if config.pairs == "joint" else [(text,) for text in texts]:
                pairs.row(row)
            return pairs.cut_rows > before

        return cut

    def configured(self, config: TaskConfig, tuning: Tuning) -> TaskConfig:
        """The task model's configuration with the settings that belong to it.

        Heads of relations are balanced on a frozen encoder, unless the settings say otherwise.

        Raises:
            SlonikError: the shape "stock" where the family has no such class, or options that it does not have.
        """
        if tuning.pairs is not None:
            config = config.model_copy(update={"pairs": tuning.pairs})
        shape = tuning.shape or usual_shape(config, tuning, self.base)
        changes: dict[str, Any] = {"shape": shape, "head": dict(tuning.head)}
        if shape == "own":
            balanced = {"balance": True} if tuning.freeze == "encoder" and config.kind in BALANCED else {}
            changes["head"] = {**config.head, **balanced, **tuning.head}
        if tuning.max_length is not None:
            changes["max_length"] = tuning.max_length
        made = config.model_copy(update=changes)
        build_head(self.base.model.config, made)  # what cannot be made is refused before any work
        return made

    def untrained(self, config: TaskConfig) -> TaskAnswerer:
        """There is no such thing: the head is new (`open_learner` says so to the user)."""
        raise TypeError("an encoder answers nothing before its head is trained")

    def train(
        self, config: TaskConfig, split: TrainingSplit, tuning: Tuning, teaching: Distillation, folder: Path, seed: int
    ) -> tuple[EncoderAnswerer, RunSummary]:
        """See `Learner.train`. A frozen encoder is run once per text instead of once per epoch."""
        states = self._frozen_states() if tuning.freeze == "encoder" else None
        model = new_task_model(copy_of(self.base), config, seed=seed)
        fields = labelled_fields(split.fit, tokenizer_of(model), config.target, seed=seed)
        if teaching.teachers:
            soft = soft_labels(teaching, config, split.fit)
            fields = [{**one, "teacher": found} for one, found in zip(fields, soft, strict=True)]
        fields = states.add_to(fields) if states is not None else fields
        loader = example_loader(
            fields, padding_of(tokenizer_of(model)), max_texts=tuning.batch_texts, max_tokens=tuning.batch_tokens,
            seed=seed,
        )  # fmt: skip
        objective = Supervised(
            config.target,
            label_smoothing=tuning.label_smoothing,
            teacher_weight=teaching.weight if teaching.teachers else 0.0,
            temperature=teaching.temperature,
            weights=class_weights(split.fit, config) if tuning.class_weights == "balanced" else None,
        )
        plan = train_config(tuning, len(loader.plan(0)), seed)
        identity = {"task": config.model_dump(mode="json"), "base": self.inputs["parent"]}
        evaluate = stopping_evaluation(split, objective, states)
        with prepared(model, tuning):
            summary = run(model, objective, loader, plan, folder, evaluate=evaluate, identity=identity)
        return EncoderAnswerer(model, states), summary

    def keep(self, model: TaskAnswerer, folder: Path, tuning: Tuning) -> None:
        """Write the trained weights alone; the base has the rest."""
        assert isinstance(model, EncoderAnswerer)
        frozen = frozen_names(model.model, tuning.freeze)
        state = model.model.state_dict()
        save_file({name: tensor.contiguous() for name, tensor in state.items() if name not in frozen}, folder / TRAINED)

    def kept(self, folder: Path, config: TaskConfig) -> EncoderAnswerer:
        """The task model whose trained weights `keep` wrote."""
        model = new_task_model(copy_of(self.base), config)
        own_tables(model.transformer)
        model.load_state_dict(load_file(folder / TRAINED), strict=False)
        return EncoderAnswerer(model.eval())

    def _frozen_states(self) -> FrozenStates:
        self._states = self._states or FrozenStates(self.base)
        return self._states


def usual_shape(config: TaskConfig, tuning: Tuning, base: TorchEncoder) -> Literal["own", "stock"]:
    """Whose head a task gets where the settings do not say: stock where that is as good and the class is there."""
    others = set(tuning.head) - {"dropout"}  # options that only ours have
    possible = not others and config.pairs == "joint" and has_stock_class(base.model.config, config.kind)
    return "stock" if possible and config.kind in STOCK and tuning.freeze != "encoder" else "own"


def usual_rate(dimension: int, freeze: str | None) -> float:
    """A learning rate where none is given: 1e-4 at 384 dimensions, less for wider encoders (5e-5 at 768).

    A head on a frozen encoder learns from zero and takes 5e-3.
    """
    return 5e-3 if freeze == "encoder" else min(3e-4, 1e-4 * 384 / dimension)


def class_weights(items: Sequence[Item], config: TaskConfig) -> list[float]:
    """(L,) weights under which every label counts as much as any other; a label without items weighs 1.

    "single": N / (L n), as scikit-learn has it. "multi": (N - n) / n for the positive ones, at most 20.

    Raises:
        SlonikError: the task has no labels.
    """
    if config.target == "multi":
        positive = np.sum([item.label for item in items], axis=0)
        return [min(20.0, (len(items) - n) / n) if n else 1.0 for n in positive]
    if config.target != "single":
        raise SlonikError(
            f"class_weights are for tasks with labels, and {config.task} gives a {config.target}: leave it out"
        )
    counts = np.bincount([int(item.label) for item in items], minlength=len(config.labels))
    present = int((counts > 0).sum())
    return [len(items) / (present * n) if n else 1.0 for n in counts]


def stopping_evaluation(
    split: TrainingSplit, objective: Supervised, states: FrozenStates | None = None
) -> Callable[[nn.Module], dict[str, float]]:
    """The loop's evaluation: `stopping_metrics` of a task model on the stopping items, tokenised once."""
    cache: dict[str, list[Fields]] = {}

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, TaskModel)
        tokenizer, target = tokenizer_of(model), model.config.target
        if not cache:
            plain = token_fields(split.stop, tokenizer)
            cache["plain"] = states.add_to(plain) if states is not None else plain
            cache["labelled"] = labelled_fields(split.stop, tokenizer, target, most_candidates=10**6)
        outputs = outputs_of(model, cache["plain"])
        losses = [
            _loss(objective, output, one["label"]) for output, one in zip(outputs, cache["labelled"], strict=True)
        ]
        answers = [probabilities(output, target) for output in outputs]
        return stopping_metrics(split.score(answers), float(np.mean(losses)), len(outputs), split.by)

    return evaluate


def _loss(objective: Supervised, output: Floats, label: Any) -> float:
    """The loss of one example's outputs, labels only."""
    batch = {"label": torch.from_numpy(np.asarray(label)).unsqueeze(0)}
    # of one example cross_entropy's weighted mean would be the plain loss: the weight is put back
    weight = 1.0
    if objective.target == "single" and objective.weights is not None:
        weight = float(objective.weights[int(label)])
    return weight * float(objective.of_outputs(torch.from_numpy(output).unsqueeze(0), batch).total)


def soft_labels(teaching: Distillation, config: TaskConfig, items: Sequence[Item]) -> list[Floats]:
    """Mean probabilities of the teachers for items, at the teaching temperature.

    Raises:
        SlonikError: a teacher for another task or with other labels, or a task that cannot be distilled so.
    """
    if config.target == "answer":
        raise SlonikError("span answers are learned from labels only: leave out --teacher")
    total: list[Floats] | None = None
    for name in teaching.teachers:
        teacher = load_task_model(models.resolve(name))
        outputs = outputs_of(teacher, token_fields(items, tokenizer_of(teacher)))
        found = [lesson_of(teacher.config, config, output, teaching.temperature, name) for output in outputs]
        total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
    assert total is not None
    mean: list[Floats] = [(one / len(teaching.teachers)).astype(np.float32) for one in total]
    return [one[0] for one in mean] if config.target == "number" else mean


def lesson_of(teacher: TaskConfig, config: TaskConfig, output: Floats, temperature: float, name: str) -> Floats:
    """What one output of a teacher says in the terms of the student's task: probabilities, or a number in its units.

    Labels go by their names, whatever their order.

    Raises:
        SlonikError: the teacher has another kind of task, or other labels.
    """
    if teacher.target != config.target:
        raise SlonikError(f"the teacher {name} answers another task ({teacher.task}), which gives a {teacher.target}")
    if config.target == "number":
        mean, deviation = config.scale or (0.0, 1.0)
        return np.array([(number_of(teacher, output) - mean) / deviation], dtype=np.float32)
    found = probabilities(output, config.target, temperature)
    if config.target not in ("single", "multi") or teacher.labels == config.labels:
        return found
    weights = label_map(teacher.labels, config.labels, f"the teacher {name}", config.task)
    made: Floats = found @ weights
    return made
