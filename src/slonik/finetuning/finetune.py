"""`slonik finetune`: any checkpoint, one task or nine or own data, several seeds; models and predictions come out.

One task gives a task model in `out` itself; several give one in `out/TASK` each. Beside them lie `predictions/`,
`results.json`, and nothing else; steps are kept in `out.steps`, so that the same call after an interruption goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik import models
from slonik.core.errors import SlonikError, lookup
from slonik.core.files import write_text
from slonik.core.hashing import sha256_file
from slonik.core.identity import checkpoint_identity
from slonik.core.passport import Step
from slonik.core.records import Record, write_records
from slonik.core.run import Announce, Result, Run, silent
from slonik.evaluation.russian_superglue.tasks import TASKS
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.encoder_learner import EncoderLearner
from slonik.finetuning.language_model_learner import LanguageModelLearner
from slonik.finetuning.learner import Learner
from slonik.finetuning.metrics import own_records
from slonik.finetuning.multitask import train_shared
from slonik.finetuning.own import OwnTask, read_own
from slonik.finetuning.superglue import (
    DIAGNOSED_BY,
    DIAGNOSTIC,
    chosen_tasks,
    superglue_records,
    task_data,
    trained_tasks,
    write_all,
)
from slonik.finetuning.training import TrainedRun, TrainingResult, train_task
from slonik.models.kinds import kind_of, resolve

RESULTS = "results.json"
PREDICTIONS = "predictions"
SUITE = "finetune"


@dataclass(frozen=True, kw_only=True)
class Finetuned(Result):
    """What a run leaves.

    Attributes:
        models: task -> folder of its task model; empty where a model was asked as it is.
    """

    models: dict[str, Path] = field(default_factory=dict)


def run_finetune(recipe: FinetuneRecipe, announce: Announce = silent) -> Finetuned:
    """Fine-tune, answer, score, save. The same call after a crash goes on where it stopped.

    Raises:
        SlonikError: no data, a model that cannot be trained so, an unknown task, `out` is there already.
    """
    for task in recipe.tasks:
        lookup(task, TASKS, "task")
    with Run(recipe.out, command="finetune", config=_plain(recipe), seed=recipe.seed, announce=announce) as run:
        learner = open_learner(recipe)
        made = _superglue(recipe, learner, run) if recipe.own is None else _own(recipe, learner, run)
    single = next(iter(made[1].values())) if len(made[1]) == 1 else None
    return Finetuned(checkpoint=single, records=tuple(made[0]), models=made[1], seconds=run.seconds)


def open_learner(recipe: FinetuneRecipe) -> Learner:
    """The recipe's model as a learner, by what it is.

    Raises:
        SlonikError: there is no such model, or it cannot do what the recipe asks.
    """
    kind = kind_of(recipe.model)
    identity = checkpoint_identity(resolve(recipe.model))
    if kind.in_words:
        if recipe.teaching.teachers or recipe.multitask:
            raise SlonikError("models that answer in words take no --teacher or multitask here: leave them out")
        return LanguageModelLearner(recipe, identity)
    if not recipe.train or recipe.shots or recipe.denoiser:
        raise SlonikError(
            f"{recipe.model} is an encoder, whose head must be trained: --no-training, --shots and --denoiser are for "
            "T5 models and decoders"
        )
    return EncoderLearner(models.load(recipe.model), identity)


def _own(recipe: FinetuneRecipe, learner: Learner, run: Run) -> tuple[list[Record], dict[str, Path]]:
    own = recipe.own
    assert own is not None
    task = read_own(recipe, own, learner)
    result = train_task(task.data(), learner, recipe, run)
    by_run = {name: answers[task.split] for name, answers in result.by_run().items()}
    hashes = {"data": sha256_file(Path(own.valid or own.train))}
    records = own_records(
        {"suite": SUITE, "task": own.name, "variant": task.split, "hashes": hashes},
        recipe.model,
        {seed: task.metrics(answers[task.split]) for seed, answers in result.answers.items()},
        task.metrics(by_run["mean"]) if "mean" in by_run else None,
        task.baselines(),
    )
    with run.result() as folder:
        kept = save_models(result, learner, folder, recipe, records, name=run.out.name)
        for name, answers in by_run.items():
            write_predictions(folder / PREDICTIONS / name / f"{own.name}.{task.split}.jsonl", task, answers)
        write_records(folder / RESULTS, records)
    return records, {own.name: run.out} if kept else {}


def write_predictions(path: Path, task: OwnTask, answers: dict[int | str, Any]) -> None:
    """Answers to the measured rows as JSON Lines: idx, label, and probabilities where there are some."""
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in task.lines(answers)))


def _superglue(recipe: FinetuneRecipe, learner: Learner, run: Run) -> tuple[list[Record], dict[str, Path]]:
    trained = trained_tasks(chosen_tasks(recipe, run.announce), train=recipe.train)
    tasks = {
        task: task_data(task, recipe, in_words=learner.in_words, with_diagnostic=diagnosed)
        for task, diagnosed in trained.items()
    }
    if recipe.multitask:
        assert isinstance(learner, EncoderLearner)
        learner = train_shared([data for data, _ in tasks.values()], learner, recipe, run)
    results = {task: train_task(data, learner, recipe, run) for task, (data, _) in tasks.items()}
    records = [
        record for task, result in results.items() for record in superglue_records(result, tasks[task][1], recipe.model)
    ]
    folders = {}
    with run.result() as folder:
        for task, result in results.items():
            place = Path() if len(results) == 1 else Path(task)
            name = run.out.name if len(results) == 1 else task
            if save_models(result, learner, folder / place, recipe, records, name=name):
                folders[task] = run.out / place
        for task, result in results.items():
            write_all(folder / PREDICTIONS, tasks[task][1], result, recipe.model, learner.inputs)
        write_records(folder / RESULTS, records)
    return records, folders


def save_models(
    result: TrainingResult,
    learner: Learner,
    folder: Path,
    recipe: FinetuneRecipe,
    records: Sequence[Record],
    *,
    name: str,
) -> bool:
    """Write the task model of the run that did best on its stopping set, with passport and its task's records.

    With `recipe.keep_all` those of all seeds too, in `seeds/N`.

    Returns:
        Whether there was one: a model that was asked as it is has none.
    """
    kept = [run for run in result.runs if run.fold == 0] if recipe.train else []
    if not kept:
        return False
    best = max(kept, key=lambda run: run.choice)
    _save(best, learner, folder, recipe, records, name)
    for run in kept if recipe.keep_all else []:
        _save(run, learner, folder / "seeds" / str(run.seed), recipe, [], str(run.seed))
    return True


def _save(
    run: TrainedRun, learner: Learner, folder: Path, recipe: FinetuneRecipe, records: Sequence[Record], name: str
) -> None:
    """Write the task model of one run with its passport and training log."""
    task = run.config.task
    step = Step(
        command="finetune",
        config={"task": task, "tuning": run.tuning.model_dump(mode="json"), "recipe": _plain(recipe)},
        inputs=dict(learner.inputs),
        seed=run.seed,
        seconds=run.step.seconds,
        summary={key: value for key, value in run.step.summary.items() if isinstance(value, int | float)},
    )
    tasks = {task, DIAGNOSTIC} if task == DIAGNOSED_BY else {task}
    own = [record for record in records if record.task in tasks and record.model == recipe.model]
    passport = learner.passport.with_step(step, name=name).with_records(own)
    learner.kept(run.step.folder, run.config).save(folder, passport)
    shutil.copy(run.step.folder / "metrics.jsonl", folder / "metrics.jsonl")


def _plain(recipe: FinetuneRecipe) -> dict[str, Any]:
    """The recipe without folders of one machine."""
    content: dict[str, Any] = recipe.model_dump(mode="json", exclude={"out", "data_dir", "tuning", "own"})
    return content | ({"own": recipe.own.model_dump(mode="json", exclude={"train", "valid"})} if recipe.own else {})
