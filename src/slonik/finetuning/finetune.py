"""`slonik finetune`: any checkpoint, one task or nine or own data, several seeds; models and predictions come out.

One task gives a task model in `out` itself; several give one in `out/TASK` each. Beside them lie `predictions/`,
`results.json`, and nothing else; steps are kept in `out.steps`, so that the same call after an interruption goes on.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik import models
from slonik.compression.result import Announce, work_folder
from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import sha256_json
from slonik.core.passport import Step
from slonik.core.records import Record, write_records
from slonik.core.run import Steps
from slonik.evaluation.russian_superglue.tasks import TASKS
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.superglue import (
    DIAGNOSED_BY,
    DIAGNOSTIC,
    Measured,
    build_course,
    chosen_tasks,
    predictions_of,
    task_records,
    trained_tasks,
    write_all,
)
from slonik.finetuning.training import CourseResult, Run, run_course, trained_model
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import kind_of
from slonik.models.task_model import save_task_model

RESULTS = "results.json"
PREDICTIONS = "predictions"


@dataclass(frozen=True)
class Finetuned:
    """What a run leaves.

    Attributes:
        records: figures of models, baselines, differences.
        models: task -> folder of its task model.
    """

    records: list[Record]
    models: dict[str, Path]


def run_finetune(recipe: FinetuneRecipe, announce: Announce = lambda line: None) -> Finetuned:
    """Fine-tune, answer, score, save. The same call after a crash goes on where it stopped.

    Raises:
        SlonikError: no data, a model that cannot be trained so, an unknown task, `out` is there already.
    """
    out = Path(recipe.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SlonikError(f"{out} is there already: choose another --out or remove it")
    for task in recipe.tasks:
        lookup(task, TASKS, "task")
    steps = Steps(work_folder(out), announce)
    if kind_of(recipe.model).in_words:
        from slonik.finetuning.text import run_text

        return run_text(recipe, steps)
    if not recipe.train or recipe.shots or recipe.denoiser:
        raise SlonikError(
            f"{recipe.model} is an encoder, whose head must be trained: --no-training, --shots and --denoiser are for "
            "T5 models and decoders"
        )
    if recipe.own is not None:
        from slonik.finetuning.own import run_own

        return run_own(recipe, models.load(recipe.model), steps)
    return _superglue(recipe, models.load(recipe.model), steps)


def _superglue(recipe: FinetuneRecipe, base: TorchEncoder, steps: Steps) -> Finetuned:
    courses = {
        task: build_course(task, recipe, with_diagnostic=diagnosed)
        for task, diagnosed in trained_tasks(chosen_tasks(recipe, steps.announce)).items()
    }
    if recipe.multitask:
        from slonik.finetuning.multitask import train_shared

        base = train_shared([course for course, _ in courses.values()], base, recipe, steps)
    out, results = Path(recipe.out), {}
    records: list[Record] = []
    for task, (course, measured) in courses.items():
        started = time.perf_counter()
        results[task] = run_course(course, base, recipe, steps)
        records += _records(results[task], measured, recipe.model, started)
    single = len(courses) == 1
    folders = {}
    for task, result in results.items():
        folders[task] = save_model(result, base, out if single else out / task, recipe, records)
    for task, result in results.items():
        _write_predictions(result, courses[task][1], base, out / PREDICTIONS, recipe)
    write_records(out / RESULTS, records)
    return Finetuned(records, folders)


def _records(result: CourseResult, measured: Measured, model: str, started: float) -> list[Record]:
    found: list[Record] = []
    seconds = sum(run.step.seconds for run in result.runs) or time.perf_counter() - started
    for task, part in measured.parts.items():
        split = f"{task} {part.split}"
        by_seed = {
            seed: predictions_of(task, part.examples, answers[split]) for seed, answers in result.answers.items()
        }
        mean = predictions_of(task, part.examples, result.mean_answers(split))
        found += task_records(part, by_seed, mean, model, seconds)
    return found


def _write_predictions(
    result: CourseResult, measured: Measured, base: TorchEncoder, folder: Path, recipe: FinetuneRecipe
) -> None:
    answers: dict[str, Any] = {f"seed{seed}": found for seed, found in result.answers.items()}
    splits = next(iter(result.answers.values()))
    if len(result.answers) > 1:
        answers["mean"] = {split: result.mean_answers(split) for split in splits}
    seeds: dict[str, int | None] = {name: int(name[4:]) if name.startswith("seed") else None for name in answers}
    weights = {
        name: sha256_json([base.weights_hash(), [run.step.summary for run in result.runs if run.seed == seed]])
        for name, seed in seeds.items()
    }
    write_all(folder, measured, answers, recipe.model, seeds, weights)


def save_model(
    result: CourseResult,
    base: TorchEncoder,
    folder: Path,
    recipe: FinetuneRecipe,
    records: list[Record],
) -> Path:
    """Write the task model of the run that did best on its stopping set, with passport and its task's records."""
    run = result.best()
    write_task_model(result, run, base, folder, recipe, records)
    if recipe.keep_all:
        for one in result.runs:
            if one.fold == 0:
                write_task_model(result, one, base, folder / "seeds" / str(one.seed), recipe, [])
    return folder


def write_task_model(
    result: CourseResult,
    run: Run,
    base: TorchEncoder,
    folder: Path,
    recipe: FinetuneRecipe,
    records: list[Record],
) -> None:
    """Write the task model of one run with its passport and training log."""
    course = result.course
    model = trained_model(base, run)
    step = Step(
        command="finetune",
        config={"task": course.task, "tuning": run.tuning.model_dump(mode="json"), "recipe": _plain(recipe)},
        inputs={"parent": base.weights_hash()},
        seed=run.seed,
        seconds=run.step.seconds,
        summary={key: value for key, value in run.step.summary.items() if isinstance(value, int | float)},
    )
    tasks = {course.task, DIAGNOSTIC} if course.task == DIAGNOSED_BY else {course.task}
    own = [record for record in records if record.task in tasks and record.model == recipe.model]
    passport = base.passport.with_step(step, name=folder.name).with_records(own)
    save_task_model(model, folder, passport)
    shutil.copy(run.step.folder / "metrics.jsonl", folder / "metrics.jsonl")


def _plain(recipe: FinetuneRecipe) -> dict[str, Any]:
    """The recipe without folders of one machine."""
    content: dict[str, Any] = recipe.model_dump(mode="json", exclude={"out", "data_dir", "tuning", "own"})
    return content | ({"own": recipe.own.model_dump(mode="json", exclude={"train", "valid"})} if recipe.own else {})
