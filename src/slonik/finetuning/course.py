"""One task's training from items to answers: folds, grid, seeds; each (task, seed, fold) is a step done once.

Knows nothing of where items come from or how answers are scored: a `Course` says both. The stopping set, a share of
each fold's fitting items, serves early stopping and the choice in the grid; measured items serve neither.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slonik import models
from slonik.core.atomic import write_json
from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.steps import StepResult, Steps
from slonik.finetuning.config import FinetuneRecipe, Tuning
from slonik.finetuning.items import Item, divide, drawn, fields_of
from slonik.finetuning.outputs import Floats, FrozenStates, answer, outputs_of, probabilities, tokenizer_of
from slonik.finetuning.train import TRAINED, Division, load_trained, save_trained, train_task
from slonik.models.encoder import TorchEncoder
from slonik.models.task_config import TaskConfig
from slonik.models.task_model import TaskModel, load_task_model

ANSWERS = "answers.json"
FEWEST_STOPPING = 20
BALANCED = ("pair", "words", "choice")
Answers = dict[int | str, Any]
"""Item key -> probabilities (a text for models that answer in free words)."""


@dataclass(frozen=True)
class Fold:
    """Items to learn from, and items (by split) that a model of this fold answers."""

    fit: list[Item]
    measured: Mapping[str, list[Item]]


@dataclass(frozen=True)
class Course:
    """A task as training sees it.

    Attributes:
        task: its id. config: the task model to make. folds: one, or several for cross-fitting.
        score: (items, their probabilities) -> the figure to stop by, the greater the better.
        tuning: settings that the task itself wants.
    """

    task: str
    config: TaskConfig
    folds: Sequence[Fold]
    score: Callable[[Sequence[Item], Sequence[Floats]], float]
    tuning: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One trained model: seed, fold, where its step lies, how it did on its stopping set, and with which settings."""

    seed: int
    fold: int
    step: StepResult
    tuning: Tuning
    config: TaskConfig

    @property
    def choice(self) -> float:
        """What early stopping maximised."""
        return float(self.step.summary["choice"])


@dataclass(frozen=True)
class CourseResult:
    """All runs of a course, and what they answered: seed -> split -> item key -> probabilities."""

    course: Course
    runs: list[Run]
    answers: dict[int, dict[str, Answers]]

    def mean_answers(self, split: str) -> Answers:
        """Mean probabilities over seeds."""
        return merged([by_split[split] for by_split in self.answers.values() if split in by_split])

    def best(self) -> Run:
        """The run to keep as a model: the best on its own stopping set among those whose weights are there."""
        kept = [run for run in self.runs if (run.step.folder / TRAINED).is_file()]
        return max(kept, key=lambda run: run.choice)


def merged(parts: Sequence[Answers]) -> Answers:
    """Item by item the mean of all answers that there are."""
    keys = dict.fromkeys(key for part in parts for key in part)
    found = {key: [part[key] for part in parts if key in part] for key in keys}
    return {key: values[0] if len(values) == 1 else np.mean(values, axis=0) for key, values in found.items()}


def run_course(course: Course, base: TorchEncoder, recipe: FinetuneRecipe, steps: Steps) -> CourseResult:
    """Train and answer with every seed on every fold; steps that were done before are read.

    Raises:
        SlonikError: too few items, a wrong field in the grid, teachers of another task.
    """
    base_hash = base.weights_hash()
    variants = tunings(course, recipe, base.dimension)
    states = FrozenStates(base) if any(variant.freeze == "encoder" for variant in variants) else None
    runs: list[Run] = []
    answers: dict[int, dict[str, list[Answers]]] = {}
    for number, fold in enumerate(course.folds):
        chosen = variants[0]
        if len(variants) > 1:
            tried = [
                _run(course, number, fold, base, base_hash, recipe, v, recipe.seed, steps, states) for v in variants
            ]
            chosen = max(tried, key=lambda run: run.choice).tuning
            steps.announce(f"{course.task}: the stopping set chose {_differences(chosen, variants)}")
        for seed in range(recipe.seed, recipe.seed + recipe.seeds):
            made = _run(course, number, fold, base, base_hash, recipe, chosen, seed, steps, states)
            runs.append(made)
            for split, found in read_answers(made.step.folder).items():
                answers.setdefault(seed, {}).setdefault(split, []).append(found)
    whole = {seed: {split: merged(parts) for split, parts in found.items()} for seed, found in answers.items()}
    return CourseResult(course, runs, whole)


def tunings(course: Course, recipe: FinetuneRecipe, dimension: int) -> list[Tuning]:
    """The settings to try: the task's own, under the recipe's, under those for this task, times the grid.

    Args:
        dimension: of the encoder, for a learning rate that is not given.

    Raises:
        SlonikError: a field or value that there is not.
    """
    explicit = recipe.tuning.model_dump(include=recipe.tuning.model_fields_set)
    fixed = {**course.tuning, **explicit, **recipe.per_task.get(course.task, {})}
    fixed.setdefault("learning_rate", usual_rate(dimension, fixed.get("freeze")))
    names = list(recipe.grid)
    combinations = itertools.product(*(recipe.grid[name] for name in names))
    return [
        build_config(Tuning, fixed | dict(zip(names, values, strict=True)), source=f"the settings for {course.task}")
        for values in combinations
    ]


def usual_rate(dimension: int, freeze: str | None) -> float:
    """A learning rate where none is given: 1e-4 at 384 dimensions, less for wider encoders (5e-5 at 768).

    A head on a frozen encoder learns from zero and takes 5e-3.
    """
    return 5e-3 if freeze == "encoder" else min(3e-4, 1e-4 * 384 / dimension)


def _differences(chosen: Tuning, variants: Sequence[Tuning]) -> str:
    values = chosen.model_dump()
    varied = [name for name in values if len({json.dumps(v.model_dump(mode="json")[name]) for v in variants}) > 1]
    return ", ".join(f"{name} = {values[name]}" for name in varied)


def with_tuning(config: TaskConfig, tuning: Tuning) -> TaskConfig:
    """The task model's configuration with the settings that belong to it.

    Heads of relations are balanced on a frozen encoder, unless the settings say otherwise.
    """
    balanced = {"balance": True} if tuning.freeze == "encoder" and config.kind in BALANCED else {}
    changes: dict[str, Any] = {"head": {**config.head, **balanced, **tuning.head}}
    if tuning.max_length is not None:
        changes["max_length"] = tuning.max_length
    return config.model_copy(update=changes)


def _run(
    course: Course,
    number: int,
    fold: Fold,
    base: TorchEncoder,
    base_hash: str,
    recipe: FinetuneRecipe,
    tuning: Tuning,
    seed: int,
    steps: Steps,
    states: FrozenStates | None = None,
) -> Run:
    config = with_tuning(course.config, tuning)
    several = len(course.folds) > 1
    frozen = states if tuning.freeze == "encoder" else None
    inputs = {
        "base": base_hash,
        "tuning": tuning.model_dump(mode="json", exclude={"save_every_minutes"}),
        "config": config.model_dump(mode="json"),
        "teaching": recipe.teaching.model_dump(mode="json"),
        "data": items_hash(fold),
        "draw": [recipe.stopping, recipe.max_items],
        "seed": seed,
        "fold": number,
    }
    name = f"{course.task}-seed{seed}" + (f"-fold{number}" if several else "")
    scratch = steps.scratch(name, inputs)
    title = f"{course.task}: seed {seed}" + (f", fold {number + 1} of {len(course.folds)}" if several else "")

    def work(folder: Path) -> Mapping[str, Any]:
        division = _division(course, fold, recipe, base, seed)
        model, summary = train_task(
            base, config, division, tuning, recipe.teaching, scratch, seed, start={"base": base_hash}, states=frozen
        )
        if number == 0:
            save_trained(model, folder, tuning.freeze)
        write_answers(folder, model, fold.measured, frozen)
        shutil.copy(summary.metrics, folder / "metrics.jsonl")
        assert summary.best is not None
        facts = {"steps": summary.step, "best_step": summary.best.step, "train_seconds": summary.seconds}
        return {**summary.best.figures, **facts, "fit": len(division.fit), "stopping": len(division.stop)}

    result = steps.run(name, inputs, title, work)
    return Run(seed, number, result, tuning, config)


def _division(course: Course, fold: Fold, recipe: FinetuneRecipe, base: TorchEncoder, seed: int) -> Division:
    count = len(fold.fit)
    if count < 2 * FEWEST_STOPPING // 5:
        raise SlonikError(f"{course.task} has {count} labelled items to learn from: at least 8 are needed")
    share = min(0.4, max(recipe.stopping, FEWEST_STOPPING / count))
    stop, fit = divide(fold.fit, [share, 1 - share], seed)
    if not len(stop) or not len(fit):
        raise SlonikError(f"the items of {course.task} are all of one group (the same text): they cannot be divided")
    fit = drawn(fit, recipe.max_items, seed)
    stopping = [fold.fit[place] for place in stop]
    fitting = [fold.fit[place] for place in fit]
    soft = teacher_answers(recipe, course.config, fitting) if recipe.teaching.teachers else None
    return Division(fitting, stopping, lambda found: course.score(stopping, found), soft)


def teacher_answers(recipe: FinetuneRecipe, config: TaskConfig, items: Sequence[Item]) -> list[Floats]:
    """Mean probabilities of the teachers for items, at the teaching temperature.

    Raises:
        SlonikError: a teacher for another task or with other labels, or a task that cannot be taught so.
    """
    if config.target == "answer":
        raise SlonikError("span answers are taught from labels only: leave out --teacher")
    total: list[Floats] | None = None
    for name in recipe.teaching.teachers:
        teacher = load_task_model(models.resolve(name))
        if (teacher.config.target, teacher.config.labels) != (config.target, config.labels):
            raise SlonikError(f"the teacher {name} answers another task ({teacher.config.task}), or has other labels")
        outputs = outputs_of(teacher, fields_of(items, tokenizer_of(teacher)))
        found = probabilities(outputs, config.target, recipe.teaching.temperature)
        total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
    assert total is not None
    mean: list[Floats] = [(one / len(recipe.teaching.teachers)).astype(np.float32) for one in total]
    return [one[0] for one in mean] if config.target == "number" else mean


def items_hash(fold: Fold) -> str:
    """Hash of a fold's items: texts, spans, labels, keys."""
    lists = [fold.fit, *(fold.measured[split] for split in sorted(fold.measured))]
    return sha256_json([[[i.key, i.input.rows, [vars(s) for s in i.input.spans], i.label] for i in x] for x in lists])


def write_answers(
    folder: Path, model: TaskModel, measured: Mapping[str, Sequence[Item]], states: FrozenStates | None = None
) -> None:
    """Answer items by split and keep the probabilities."""
    content = {}
    for split, items in measured.items():
        found = answer(model, items, states=states)
        content[split] = [
            [item.key, np.asarray(one, dtype=np.float64).round(6).tolist()]
            for item, one in zip(items, found, strict=True)
        ]
    write_json(folder / ANSWERS, content)


def read_answers(folder: Path) -> dict[str, Answers]:
    """What `write_answers` kept: split -> item key -> probabilities."""
    content = json.loads((folder / ANSWERS).read_text(encoding="utf-8"))
    return {
        split: {key: one if isinstance(one, str) else np.asarray(one, dtype=np.float32) for key, one in rows}
        for split, rows in content.items()
    }


def trained_model(base: TorchEncoder, run: Run) -> TaskModel:
    """The task model of a run."""
    return load_trained(base, run.config, run.step.folder)
