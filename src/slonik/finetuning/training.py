"""One task's training from items to answers: folds, grid, seeds; each (task, seed, fold) is a step done once.

Knows nothing of where items come from, how answers are scored, or what learns: `TaskData` and a `Learner` say so. The
stopping set, a share of each fold's fitting items, serves early stopping and the choice in the grid; measured items
serve neither.
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

from slonik.core.config import build_config
from slonik.core.errors import SlonikError, lookup
from slonik.core.files import write_json
from slonik.core.identity import checkpoint_identity
from slonik.core.progress import warn_once
from slonik.core.run import StepResult, Steps
from slonik.finetuning.calibration import chosen_temperature, chosen_thresholds
from slonik.finetuning.config import FinetuneRecipe, Tuning
from slonik.finetuning.items import RARE, Item, drawn, has_two_texts, items_hash, split_items, with_pairs
from slonik.finetuning.learner import Learner, TaskAnswerer, TrainingSplit
from slonik.finetuning.prompts import prompted, with_shots
from slonik.models.kinds import resolve
from slonik.text.answers import TEMPERATURE, THRESHOLDS, heated
from slonik.text.lines import read_json
from slonik.text.task_config import TaskConfig

ANSWERS = "answers.json"
SETTLED = "settled.json"
FEWEST = 8
FEWEST_STOPPING = 20
Answers = dict[int | str, Any]
"""Item key -> probabilities (a text for models that answer in free words)."""


@dataclass(frozen=True)
class Fold:
    """Items to learn from, and items (by split) that a model of this fold answers."""

    fit: list[Item]
    measured: Mapping[str, list[Item]]


@dataclass(frozen=True)
class TaskData:
    """A task as training sees it.

    Attributes:
        task: its id.
        config: the task model to make, as the task has it; the learner adds its own.
        folds: one, or several for cross-fitting.
        score: (items, their answers, metric or None for the first) -> what to stop by, the greater the better.
        tuning: settings that the task itself wants.
        metrics: names that `score` knows.
    """

    task: str
    config: TaskConfig
    folds: Sequence[Fold]
    score: Callable[[Sequence[Item], Sequence[Any], str | None], float]
    tuning: Mapping[str, Any] = field(default_factory=dict)
    metrics: Sequence[str] = ()


@dataclass(frozen=True)
class TrainedRun:
    """One trained model: seed, fold, where its step lies, how it did on its stopping set, and with which settings."""

    seed: int
    fold: int
    step: StepResult
    tuning: Tuning
    config: TaskConfig

    @property
    def settled(self) -> TaskConfig:
        """The task's configuration with what was chosen after the training: temperature, thresholds."""
        return self.config.model_copy(update={"details": {**self.config.details, **read_settled(self.step.folder)}})

    @property
    def choice(self) -> float:
        """What early stopping maximised."""
        return float(self.step.summary["choice"])


@dataclass(frozen=True)
class TrainingResult:
    """All runs of a task, and what they answered: seed -> split -> item key -> answer.

    Attributes:
        unit: what the runs differ in, "seed" or "prompt".
        raw: the answers before they were calibrated; empty where they were not.
    """

    data: TaskData
    runs: list[TrainedRun]
    answers: dict[int, dict[str, Answers]]
    unit: str = "seed"
    raw: dict[int, dict[str, Answers]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Of all runs together, when they ran."""
        return sum(run.step.seconds for run in self.runs)

    def by_run(self) -> dict[str, dict[str, Answers]]:
        """ "seed0" (or "prompt0"), ... and, of several whose answers have a mean, "mean" -> split -> answers."""
        found = {f"{self.unit}{seed}": answers for seed, answers in self.answers.items()}
        if len(found) > 1 and self.data.config.target != "text":
            found["mean"] = {split: self.mean_answers(split) for split in next(iter(found.values()))}
        return found

    def mean_answers(self, split: str) -> Answers:
        """Mean probabilities over seeds."""
        return merged([by_split[split] for by_split in self.answers.values() if split in by_split])


def merged(parts: Sequence[Answers]) -> Answers:
    """Item by item the mean of all answers that there are."""
    keys = dict.fromkeys(key for part in parts for key in part)
    found = {key: [part[key] for part in parts if key in part] for key in keys}
    return {key: values[0] if len(values) == 1 else np.mean(values, axis=0) for key, values in found.items()}


def train_task(data: TaskData, learner: Learner, recipe: FinetuneRecipe, steps: Steps) -> TrainingResult:
    """Train and answer with every seed on every fold; steps that were done before are read.

    A model that is asked as it is (`recipe.train` off) has one seed.

    Raises:
        SlonikError: too few items, a wrong field in the grid, teachers of another task.
    """
    variants = tunings(data, learner, recipe)
    check_recipe(data, recipe)
    runs: list[TrainedRun] = []
    answers: dict[int, dict[str, list[Answers]]] = {}
    raw: dict[int, dict[str, list[Answers]]] = {}
    for number, fold in enumerate(data.folds):
        chosen = variants[0]
        if len(variants) > 1 and recipe.train:
            tried = [_run(data, number, fold, learner, recipe, one, recipe.seed, steps) for one in variants]
            chosen = max(tried, key=lambda run: run.choice).tuning
            steps.announce(f"{data.task}: the stopping set chose {_differences(chosen, variants)}")
        for seed in range(recipe.seed, recipe.seed + (recipe.seeds if recipe.train else _prompts(data, recipe))):
            made = _run(data, number, fold, learner, recipe, chosen, seed, steps)
            runs.append(made)
            heat = read_settled(made.step.folder).get(TEMPERATURE, 1.0)
            for split, found in read_answers(made.step.folder).items():
                raw.setdefault(seed, {}).setdefault(split, []).append(found)
                if heat != 1.0:
                    found = {key: heated(one, data.config.target, heat) for key, one in found.items()}
                answers.setdefault(seed, {}).setdefault(split, []).append(found)
    whole, before = (
        {seed: {split: merged(parts) for split, parts in found.items()} for seed, found in table.items()}
        for table in (answers, raw)
    )
    unit = "prompt" if recipe.prompts == "several" else "seed"
    return TrainingResult(data, runs, whole, unit, before if recipe.calibrate else {})


def check_recipe(data: TaskData, recipe: FinetuneRecipe) -> None:
    """Refuse what means nothing for a task.

    Raises:
        SlonikError: a metric that it does not have, thresholds of labels that it does not have, nothing to calibrate.
    """
    if recipe.stop_by is not None and recipe.stop_by != "loss":
        lookup(recipe.stop_by, dict.fromkeys([*data.metrics, "loss"]), "metric to stop by")
    if recipe.thresholds == "chosen" and data.config.target != "multi":
        raise SlonikError(
            f"thresholds are for tasks with several labels, and {data.task} has one answer: leave them out"
        )
    if recipe.calibrate and data.config.target not in ("single", "multi", "choice"):
        raise SlonikError(f"{data.task} gives a {data.config.target} and no probabilities: it cannot be calibrated")
    if not recipe.train and (recipe.calibrate or recipe.thresholds == "chosen" or recipe.stop_by is not None):
        raise SlonikError("--no-training stops by nothing: leave out stop_by, calibrate and thresholds")


def _prompts(data: TaskData, recipe: FinetuneRecipe) -> int:
    """How many prompts a model is asked by, each like a seed."""
    if recipe.prompts != "several":
        return 1
    asked = next((item.asked for fold in data.folds for items in fold.measured.values() for item in items), None)
    if asked is None or not asked.others:
        raise SlonikError(f"{data.task} has one prompt: leave out prompts: several, or give own.prompts")
    return 1 + len(asked.others)


def tunings(data: TaskData, learner: Learner, recipe: FinetuneRecipe) -> list[Tuning]:
    """The settings to try: the learner's and the task's, under the recipe's, under those for this task, times the grid.

    Raises:
        SlonikError: a field or value that there is not.
    """
    explicit = recipe.tuning.model_dump(include=recipe.tuning.model_fields_set)
    fixed = learner.settings(data.tuning, {**explicit, **recipe.per_task.get(data.task, {})})
    names = list(recipe.grid)
    combinations = itertools.product(*(recipe.grid[name] for name in names))
    return [
        build_config(Tuning, fixed | dict(zip(names, values, strict=True)), source=f"the settings for {data.task}")
        for values in combinations
    ]


def _differences(chosen: Tuning, variants: Sequence[Tuning]) -> str:
    values = chosen.model_dump()
    varied = [name for name in values if len({json.dumps(v.model_dump(mode="json")[name]) for v in variants}) > 1]
    return ", ".join(f"{name} = {values[name]}" for name in varied)


def _run(
    data: TaskData,
    number: int,
    fold: Fold,
    learner: Learner,
    recipe: FinetuneRecipe,
    tuning: Tuning,
    seed: int,
    steps: Steps,
) -> TrainedRun:
    config = learner.configured(data.config, tuning)
    fold = _read_so(fold, config, tuning)
    shown, asked = fold.fit, dict(fold.measured)
    if recipe.prompts == "several":
        shown, asked = (
            prompted(shown, seed - recipe.seed),
            {split: prompted(items, seed - recipe.seed) for split, items in asked.items()},
        )
    measured = {split: with_shots(items, shown, recipe.shots, recipe.seed, data.task) for split, items in asked.items()}
    inputs = {
        "model": learner.identity,
        "tuning": tuning.model_dump(mode="json", exclude={"save_every_minutes"}),
        "config": config,
        "teaching": recipe.teaching,
        "teachers": {name: checkpoint_identity(resolve(name)) for name in recipe.teaching.teachers},
        "data": {"fit": items_hash(fold.fit), **{split: items_hash(items) for split, items in measured.items()}},
        "draw": [recipe.stopping, recipe.max_items],
        "few_shot": recipe.few_shot,
        "settled": [recipe.stop_by, recipe.calibrate, recipe.thresholds],
        "seed": seed,
        "fold": number,
        "train": recipe.train,
    }
    several = len(data.folds) > 1
    unit = "prompt" if recipe.prompts == "several" else "seed"
    name = f"{data.task}-{unit}{seed}" + (f"-fold{number}" if several else "")
    title = f"{data.task}: {unit} {seed}" + (f", fold {number + 1} of {len(data.folds)}" if several else "")

    def work(folder: Path) -> Mapping[str, Any]:
        if not recipe.train:
            write_answers(folder, learner.untrained(config), measured)
            return {"choice": 0.0}
        split = training_split(data, fold, recipe, seed)
        model, summary = learner.train(config, split, tuning, recipe.teaching, steps.scratch(), seed)
        if number == 0:
            learner.keep(model, folder, tuning)
        write_answers(folder, model, measured)
        write_json(folder / SETTLED, settled(recipe, config, model, split))
        shutil.copy(summary.metrics, folder / "metrics.jsonl")
        assert summary.best is not None
        facts = {
            "steps": summary.step, "best_step": summary.best.step, "train_seconds": summary.seconds,
            "precision": summary.precision,
        }  # fmt: skip
        return {**summary.best.metrics, **facts, "fit": len(split.fit), "stopping": len(split.stop)}

    result = steps.step(name, inputs, title, work, code=[__name__, learner.code, data.score.__module__])
    return TrainedRun(seed, number, result, tuning, config)


def _read_so(fold: Fold, config: TaskConfig, tuning: Tuning) -> Fold:
    """The fold with its texts together or apart, as the settings of this run say.

    Raises:
        SlonikError: `pairs` for items that are not two texts.
    """
    if tuning.pairs is None or config.target == "choice":
        if tuning.pairs is not None:
            raise SlonikError(
                f"tuning.pairs is {tuning.pairs!r}, and candidates of {config.task} are read one by one: leave it out"
            )
        return fold
    first = next((item for item in [*fold.fit, *(one for items in fold.measured.values() for one in items)]), None)
    if first is not None and not has_two_texts(first):
        raise SlonikError(f"tuning.pairs is {tuning.pairs!r}, and items of {config.task} are one text: leave it out")
    return Fold(
        [with_pairs(item, config.pairs) for item in fold.fit],
        {split: [with_pairs(item, config.pairs) for item in items] for split, items in fold.measured.items()},
    )


def training_split(data: TaskData, fold: Fold, recipe: FinetuneRecipe, seed: int) -> TrainingSplit:
    """The items of a fold to fit (at most `max_items`, drawn) and those to stop by.

    Raises:
        SlonikError: too few items, or all of one group.
    """
    count = len(fold.fit)
    if count < FEWEST:
        raise SlonikError(f"{data.task} has {count} labelled items to learn from: at least {FEWEST} are needed")
    if recipe.few_shot:
        fitting = [fold.fit[place] for place in drawn(np.arange(count), recipe.max_items, seed)]
        return TrainingSplit(fitting, fitting, lambda found: data.score(fitting, found, None))
    share = min(0.4, max(recipe.stopping, FEWEST_STOPPING / count))
    stop, fit = split_items(fold.fit, [share, 1 - share], seed, learned=1)
    if not len(stop) and len({item.group for item in fold.fit}) > 1:
        warn_once(
            f"{data.task}: no item can be spared to stop by, for every label has {RARE} items or fewer: training is "
            "watched on the items that it fits, and goes on to its end"
        )
        stop = fit
    if not len(stop) or not len(fit):
        raise SlonikError(f"the items of {data.task} are all of one group (the same text): they cannot be split")
    fitting = [fold.fit[place] for place in drawn(fit, recipe.max_items, seed)]
    stopping = [fold.fit[place] for place in stop]
    metric = None if recipe.stop_by == "loss" else recipe.stop_by
    return TrainingSplit(fitting, stopping, lambda found: data.score(stopping, found, metric), recipe.stop_by)


def settled(recipe: FinetuneRecipe, config: TaskConfig, model: TaskAnswerer, split: TrainingSplit) -> dict[str, Any]:
    """What is chosen on the stopping set after training, as details of the task: temperature and thresholds."""
    if not recipe.calibrate and recipe.thresholds == "half":
        return {}
    known = [item for item in split.stop if item.label is not None]
    found, labels = model.answer(known), [item.label for item in known]
    details: dict[str, Any] = {}
    if recipe.calibrate:
        details[TEMPERATURE] = chosen_temperature(found, labels, config.target)
        found = [heated(one, config.target, details[TEMPERATURE]) for one in found]
    if recipe.thresholds == "chosen":
        details[THRESHOLDS] = chosen_thresholds(found, labels, config.labels)
    return details


def read_settled(folder: Path) -> dict[str, Any]:
    """What `settled` chose for the model of a step; nothing where nothing was to be chosen."""
    found: dict[str, Any] = read_json(folder / SETTLED, optional=True)
    return found


def write_answers(folder: Path, model: TaskAnswerer, measured: Mapping[str, Sequence[Item]]) -> None:
    """Answer items by split and keep the answers."""
    content = {}
    for split, items in measured.items():
        found = model.answer(items)
        content[split] = [
            [item.key, one if isinstance(one, str) else np.asarray(one, dtype=np.float64).round(6).tolist()]
            for item, one in zip(items, found, strict=True)
        ]
    write_json(folder / ANSWERS, content)


def read_answers(folder: Path) -> dict[str, Answers]:
    """What `write_answers` kept: split -> item key -> answer."""
    content = json.loads((folder / ANSWERS).read_text(encoding="utf-8"))
    return {
        split: {key: one if isinstance(one, str) else np.asarray(one, dtype=np.float32) for key, one in rows}
        for split, rows in content.items()
    }
