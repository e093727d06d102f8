"""What a MODEL of `slonik evaluate russian-superglue` is, and which items it answers.

A baseline by its bare name, a folder of predictions, a submission (zip or unpacked), a folder of one task model or of
several (one per task), as `slonik finetune` leaves them, a checkpoint of Transformers whose labels are a task's.
Running a task model is handed in by the caller.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import sha256_json
from slonik.core.passport import Passport
from slonik.evaluation.russian_superglue.baselines import BASELINES, fit
from slonik.evaluation.russian_superglue.parts import SPLITS, Part, find_part, find_parts, part_of, same_items
from slonik.evaluation.russian_superglue.predictions import (
    Prediction,
    Predictions,
    check_items,
    find_predictions,
    read_predictions,
)
from slonik.evaluation.russian_superglue.submission import official_files, read_submission
from slonik.evaluation.russian_superglue.tasks import TASKS, label_names
from slonik.models.kinds import resolve
from slonik.text import TASK_FILE
from slonik.text.label_map import label_map
from slonik.text.lines import read_json
from slonik.text.task_config import TaskConfig, stock_kind

Answer: TypeAlias = Callable[[Part], Sequence[Prediction]]
RunModel: TypeAlias = Callable[[Any, Part], Sequence[Any]]
PREDICTIONS = "predictions"
_DIAGNOSED_BY = {task.id: task.train_on for task in TASKS.values() if task.train_on}


@dataclass(frozen=True)
class System:
    """A named model, or whatever else answers: what is measured.

    Attributes:
        name: as the user gave it.
        answer: part -> predictions.
        tasks: tasks that it answers; None = all.
        files: its predictions by (task, split), where it is a folder of them.
        is_submission: whether it is in the site's format, which does not say what split it answers.
        folder: its checkpoint, where it is one.
        weights: hash of the model, where it is known.
    """

    name: str
    answer: Answer
    tasks: frozenset[str] | None = None
    files: Mapping[tuple[str, str], Predictions] = field(default_factory=dict)
    is_submission: bool = False
    folder: Path | None = None
    weights: str | None = None

    def answers(self, task: str, split: str | None = None) -> bool:
        """Whether it answers a task (and split)."""
        if self.files:
            return any(known == task and split in (None, found) for known, found in self.files)
        return self.tasks is None or task in self.tasks


def find_system(name: str, run: RunModel, *, seed: int = 0) -> System:
    """What is called `name`.

    Args:
        run: (folder of a task model, part) -> predictions.
        seed: of random baselines.

    Raises:
        SlonikError: nothing of that name that answers tasks of Russian SuperGLUE.
    """
    if name in BASELINES:
        return System(name, baseline(name, seed=seed), weights=sha256_json(["baseline", name, seed]))
    path = Path(name)
    if path.suffix == ".zip":
        return System(name, _submitted(path), is_submission=True)
    if find_predictions(path):
        return _from_predictions(name, path)
    official = official_files(path)
    if official:
        return System(name, _submitted(path), frozenset(official), is_submission=True)
    models = _task_models(path)
    if models:
        return _from_models(name, path, models, run)
    if path.is_dir() or _is_hub_id(name):
        folder = resolve(name)
        if stock_kind(read_json(folder / "config.json", optional=True)) is not None:
            return _from_elsewhere(name, folder, run)
    known = ", ".join(BASELINES)
    if not path.exists():
        raise SlonikError(
            f"there is no model {name!r} for Russian SuperGLUE: give a baseline ({known}), a task model made by "
            "`slonik finetune`, a folder of predictions, or a submission zip"
        )
    raise SlonikError(
        f"{name} answers no task of Russian SuperGLUE (it has no {TASK_FILE} of one and no predictions): fine-tune an "
        "encoder, T5 or a decoder first, `slonik finetune MODEL --task terra`"
    )


def baseline(name: str, *, seed: int = 0) -> Answer:
    """A baseline as a function from a part to predictions, cross-fitted where there is no training data.

    Raises:
        SlonikError: unknown baseline.
    """
    lookup(name, BASELINES, "baseline")
    return lambda part: part.answered(partial(fit, name, part.task.id, seed=seed))


def choose_parts(
    systems: Sequence[System], folder: Path, *, tasks: Sequence[str] | None = None, split: str | None = None
) -> tuple[dict[str, Part], dict[str, str]]:
    """Items to measure on: those that the given predictions answer, and else what the data folder has.

    Returns:
        Task -> part; and for tasks of which there is no labelled data, what is missing.

    Raises:
        SlonikError: no data, or predictions of different items for one task.
    """
    own: dict[str, tuple[Part, str]] = {}
    for system in systems:
        for task in (name for name in tasks or TASKS if system.is_submission and system.answers(name)):
            part = _answered_part(system, task, folder, split)
            if part is not None:
                own.setdefault(task, (part, system.name))
        for task, options in _labelled(system, folder, tasks, split).items():
            known, whose = own.setdefault(task, (options[0], system.name))
            if not any(same_items(known, part) for part in options):
                raise SlonikError(
                    f"{system.name} answers other items of {task} than {whose}: compare predictions of the same file"
                )
    if all(system.files or system.is_submission for system in systems):
        if not own:
            raise SlonikError("the predictions answer no labelled data: give --submission to pack them, or a --split")
        return {task: own[task][0] for task in TASKS if task in own}, {}
    wanted = [task for task in tasks or TASKS if any(system.answers(task) for system in systems)]
    if not wanted:
        raise SlonikError(f"{', '.join(c.name for c in systems)} answers none of {', '.join(tasks or TASKS)}")
    parts, missing = find_parts(folder, wanted, split)
    parts |= {task: part for task, (part, _) in own.items()}
    return {task: parts[task] for task in TASKS if task in parts}, missing


def official_tests(folder: Path) -> dict[str, Part]:
    """Official test sets that are there, labelled or not."""
    found = {task: find_part(task, folder, split="test", labelled=False) for task in TASKS}
    return {task: part for task, part in found.items() if part is not None}


def _labelled(system: System, folder: Path, tasks: Sequence[str] | None, split: str | None) -> dict[str, list[Part]]:
    """Task -> labelled parts that a folder of predictions answers, in the order of `SPLITS`."""
    found: dict[str, list[Part]] = {}
    splits = [*SPLITS, *(split for _, split in system.files if split not in SPLITS)]
    for (task, own), predictions in sorted(system.files.items(), key=lambda item: splits.index(item[0][1])):
        if (tasks and task not in tasks) or split not in (None, own):
            continue
        part = part_of(predictions, folder, f"{system.name} ({task}, {own})")
        if part.is_labelled:
            found.setdefault(task, []).append(part)
    return found


def _answered_part(system: System, task: str, folder: Path, split: str | None) -> Part | None:
    """The labelled split whose items a submission answers; None where there is no labelled data of the task.

    Raises:
        SlonikError: there is, and the submission answers none of it rightly: why not the first.
    """
    refused: SlonikError | None = None
    for name in SPLITS if split is None else (split,):
        part = find_part(task, folder, split=name)
        if part is None:
            continue
        try:
            system.answer(part)
        except SlonikError as error:
            refused = refused or error
        else:
            return part
    if refused is not None:
        raise refused
    return None


def _from_predictions(name: str, folder: Path) -> System:
    files = {}
    for path in find_predictions(folder):
        found = read_predictions(path)
        files[found.header.task, found.header.split] = found

    def answer(part: Part) -> Sequence[Prediction]:
        options = [found for (task, _), found in files.items() if task == part.task.id]
        chosen = files.get((part.task.id, part.split)) or options[0]
        return check_items(chosen, part.examples, f"{name} ({part.task.id}, {chosen.header.split})")

    weights = sorted({found.header.weights for found in files.values() if found.header.weights})
    return System(name, answer, files=files, weights=sha256_json(weights) if weights else None)


def _submitted(path: Path) -> Answer:
    return lambda part: read_submission(path, {part.task.id: part.examples})[part.task.id]


def _task_models(folder: Path) -> dict[str, Path]:
    """Task -> folder of its model: `folder` itself, or folders in it."""
    places = [folder, *(sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else [])]
    found: dict[str, Path] = {}
    for place in places:
        task = _task_of(place)
        if task is not None:
            found.setdefault(task, place)
    return found


def _task_of(folder: Path) -> str | None:
    try:
        task = json.loads((folder / TASK_FILE).read_text(encoding="utf-8")).get("task")
    except (OSError, ValueError, AttributeError):
        return None
    return task if task in TASKS else None


def _from_models(name: str, folder: Path, models: Mapping[str, Path], run: RunModel) -> System:
    diagnosed = {task: models[by] for task, by in _DIAGNOSED_BY.items() if by in models}
    places = {**diagnosed, **models}

    def answer(part: Part) -> Sequence[Prediction]:
        saved = None if part.train is not None else _saved(folder, places[part.task.id], part)
        return saved if saved is not None else list(run(places[part.task.id], part))

    checkpoint = next(iter(models.values())) if len(models) == 1 else None
    return System(name, answer, frozenset(places), folder=checkpoint)


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).exists()


def _from_elsewhere(name: str, folder: Path, run: RunModel) -> System:
    """A checkpoint of Transformers with a head: tasks whose labels are its own, or whose candidates it chooses from.

    Raises:
        SlonikError: there is none.
    """
    config = TaskConfig.read(folder)
    wanted = {id: task for id, task in TASKS.items() if task.kind not in ("word", "coreference")}
    answered = set()
    for id, task in wanted.items():
        if config.target == "choice" and task.kind in ("choice", "cloze"):
            answered.add(id)
        if config.target != "single" or task.kind in ("choice", "cloze"):
            continue
        with suppress(SlonikError):
            label_map(config.labels, label_names(task), name, id, said=False)
            answered.add(id)
    if not answered:
        known = "; ".join(f"{id}: {', '.join(label_names(task))}" for id, task in wanted.items() if task.labels)
        own = f"the labels {', '.join(config.labels)}" if config.labels else f"a head for {config.target}"
        raise SlonikError(f"{name} has {own}, which no task of Russian SuperGLUE has ({known}): rename its labels")
    return System(name, lambda part: list(run(folder, part)), frozenset(answered), folder=folder)


def _saved(folder: Path, model: Path, part: Part) -> Sequence[Prediction] | None:
    """Cross-fitted answers that lie beside a model: the model itself has seen most of these items.

    Those of its own seed are taken, else those of the first: the mean of the seeds is another, better model.
    """
    names = [path.name for path in sorted((folder / PREDICTIONS).glob("seed*"))]
    own = f"seed{_seed_of(model)}"
    for run in sorted(names, key=lambda name: name != own):
        path = folder / PREDICTIONS / run / f"{part.task.id}.{part.split}.jsonl"
        if path.is_file():
            found = read_predictions(path)
            return check_items(found, part.examples, str(path))
    return None


def _seed_of(model: Path) -> int | None:
    """The seed of a model's training, as far as its passport says."""
    try:
        lineage = Passport.read(model).lineage
    except SlonikError:
        return None
    return lineage[-1].seed if lineage else None
