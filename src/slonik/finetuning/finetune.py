"""`slonik finetune`: any checkpoint, one task or nine or own data, several seeds; models and predictions come out.

One task gives a task model in `out` itself; several give one in `out/TASK` each. Beside them lie `predictions/`,
`results.json`, of own data `data.json` (what was dirty in it), and nothing else; steps are kept in `out.steps`, so that
the same call after an interruption goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from slonik import models
from slonik.core.config import configure, fields_of, read_recipe
from slonik.core.errors import SlonikError, lookup
from slonik.core.files import write_json, write_text
from slonik.core.identity import checkpoint_identity
from slonik.core.passport import Step
from slonik.core.paths import data_dir as data_folder
from slonik.core.progress import shown, warn_once
from slonik.core.records import Record, write_records
from slonik.core.run import Announce, Inputs, Result, Run, say, silent
from slonik.evaluation.russian_superglue.tasks import TASKS
from slonik.evaluation.suite import few_items
from slonik.finetuning.config import FinetuneRecipe, OwnData, OwnKind
from slonik.finetuning.encoder_learner import EncoderLearner
from slonik.finetuning.few_shot import FewShotLearner
from slonik.finetuning.language_model_learner import LanguageModelLearner
from slonik.finetuning.learner import Learner
from slonik.finetuning.metrics import own_records
from slonik.finetuning.multitask import train_shared
from slonik.finetuning.own import OwnTask, read_own
from slonik.finetuning.rows import Rows, rows_hash, rows_of, source_name
from slonik.finetuning.superglue import (
    ALL_TASKS,
    DIAGNOSED_BY,
    DIAGNOSTIC,
    chosen_tasks,
    shared_texts,
    superglue_records,
    task_data,
    trained_tasks,
    write_all,
)
from slonik.finetuning.training import TrainedRun, TrainingResult, train_task
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import kind_of, resolve
from slonik.models.language_model import LanguageModel
from slonik.reporting.formatting import cell, difference_cell
from slonik.reporting.scores import is_difference

RESULTS = "results.json"
DATA = "data.json"
PREDICTIONS = "predictions"
SUITE = "finetune"
OWN = "own"


@dataclass(frozen=True, kw_only=True)
class Finetuned(Result):
    """What a run leaves.

    Attributes:
        models: task -> folder of its task model; empty where a model was asked as it is.
    """

    models: dict[str, Path] = field(default_factory=dict)

    def __str__(self) -> str:
        """What was measured, a line each, and what was made."""
        return "\n".join([*map(_told, self.records), super().__str__()])


def _told(record: Record) -> str:
    found = difference_cell(record) if is_difference(record) else cell(record)
    seed = "" if record.seed is None else f", seed {record.seed}"
    return f"{record.task}: {record.model}{seed}: {record.metric} {found.plain()}"


def finetune(
    model: str | Path | TorchEncoder | LanguageModel,
    data: Rows | None = None,
    *,
    out: str | Path,
    task: str | Sequence[str] = OWN,
    recipe: str | Path | Mapping[str, Any] | None = None,
    valid: Rows | None = None,
    kind: OwnKind | None = None,
    text_columns: str | Sequence[str] | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    unlabelled: Literal["refuse", "leave_out"] | None = None,
    name: str | None = None,
    data_dir: str | Path | None = None,
    seeds: int | None = None,
    seed: int | None = None,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    max_length: int | None = None,
    folds: int | None = None,
    crossfit: Literal["auto", "always", "never"] | None = None,
    multitask: bool | None = None,
    teachers: Sequence[str | Path] = (),
    denoiser: str | None = None,
    prompts: Sequence[str] = (),
    shots: int | None = None,
    train: bool | None = None,
    few_shot: bool | None = None,
    lora: int | None = None,
    class_weights: Literal["none", "balanced"] | None = None,
    stop_by: str | None = None,
    calibrate: bool | None = None,
    thresholds: Literal["half", "chosen"] | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
    progress: bool = False,
    announce: Announce | None = None,
) -> Finetuned:
    """Fine-tune a model on your own rows or on tasks of Russian SuperGLUE, and measure it beside the baselines.

    The same call after a crash goes on where it stopped; what was made from another model, other data or other settings
    is made anew. Options that are not given are those of the recipe, else the defaults of `FinetuneRecipe`.

    Args:
        model: folder, hub id, `embedded:NAME`, or one that is loaded; it is not changed.
        data: labelled rows: a .jsonl, .csv or .tsv file (SQuAD's .json for "qa"), mappings, or a data frame.
        out: folder for the task model (one task), or for one folder per task.
        task: "own" for `data` (or what the recipe names), else one or several of Russian SuperGLUE; "all" that have
            data.
        recipe: YAML file, or its content.
        valid: rows to measure on; None = a held-out share of `data`.
        kind: of your own task. text_columns, label_column: where its texts and labels are.
        group_column: rows with one value there stay on one side of every split.
        unlabelled: what happens to rows whose label is null: "refuse" (all of them are counted), or "leave_out".
        name: of your own task, for `predict`.
        data_dir: the folder that holds russian_superglue/; None = $SLONIK_DATA, or the user's cache folder.
        seeds: how many runs. seed: the first, and that of the splits.
        epochs: passes over the fitting items. batch_size: items of a batch. max_length: tokens of an input.
        folds: own data: every row is measured once, by a model that did not learn from it; official tasks: of those
            without a training file. crossfit: of these.
        multitask: train on all tasks together first, then on each from there.
        teachers: task models to distil from.
        denoiser: T5: prefix of the denoiser to go on from.
        prompts: T5 and decoders: how a row of your own is asked, with {column} where its texts go; several, with
            train=False, are asked in turn and have their spread.
        shots: answered examples in the prompt, with train=False: T5 and decoders answer as they are.
        few_shot: for 8 to 64 rows: the encoder is fitted to pairs of them, then a logistic regression to its vectors.
        lora: rank of low-rank matrices, trained instead of the weights.
        class_weights: "balanced": every label weighs as much as any other.
        stop_by: metric that early stopping follows, or "loss".
        calibrate: divide outputs by a temperature that is chosen on the stopping set; its error is a record.
        thresholds: several labels: "half", or "chosen" for each on the stopping set.
        set: further fields: "key=value", or names of fields -> values.
        progress: show bars and steps on standard error.
        announce: called with a line as steps begin and end, instead.

    Raises:
        SlonikError: no data, a model that cannot be trained so, an unknown task, `out` is there already.
    """
    data, valid = rows_of(data), rows_of(valid)
    at = fields_of(FinetuneRecipe)
    own = fields_of(OwnData, at.own)
    columns = [text_columns] if isinstance(text_columns, str) else list(text_columns or ())
    fields: dict[Any, Any] = {
        at.model: model.name if isinstance(model, TorchEncoder | LanguageModel) else str(model), at.out: str(out),
        at.seeds: seeds, at.seed: seed, at.folds: folds, at.crossfit: crossfit, at.multitask: multitask,
        at.denoiser: denoiser, at.shots: shots, at.train: train,
        at.teaching.teachers: [str(teacher) for teacher in teachers] or None,
        at.tuning.epochs: epochs, at.tuning.learning_rate: learning_rate, at.tuning.batch_texts: batch_size,
        at.tuning.max_length: max_length, at.tuning.lora: lora, at.tuning.class_weights: class_weights,
        at.few_shot: few_shot, at.stop_by: stop_by, at.calibrate: calibrate, at.thresholds: thresholds,
        own.prompts: list(prompts) or None, at.prompts: "several" if len(prompts) > 1 else None,
        own.train: source_name(data), own.valid: source_name(valid), own.kind: kind,
        own.text_columns: columns or None, own.label_column: label_column,
        own.group_column: group_column, own.unlabelled: unlabelled, own.name: name,
    }  # fmt: skip
    content = recipe if recipe is None or isinstance(recipe, Mapping) else read_recipe(recipe)
    names = [name for name in ([task] if isinstance(task, str) else task) if name != OWN]
    if "all" in names:
        names, fields[at.skip_missing] = list(ALL_TASKS), True
    fields[at.tasks] = names or None
    if (names or (content or {}).get("tasks")) and (data_dir is not None or not (content or {}).get("data_dir")):
        fields[at.data_dir] = str(data_folder(Path(data_dir) if data_dir is not None else None))
    config = configure(FinetuneRecipe, recipe, fields, set)
    with shown(progress):
        return run_finetune(
            config, announce or (say if progress else silent), rows=data, valid=valid,
            loaded=model if isinstance(model, TorchEncoder | LanguageModel) else None,
        )  # fmt: skip


def run_finetune(
    recipe: FinetuneRecipe,
    announce: Announce = silent,
    *,
    loaded: TorchEncoder | LanguageModel | None = None,
    rows: Rows | None = None,
    valid: Rows | None = None,
) -> Finetuned:
    """Run a whole recipe; see `finetune`.

    Args:
        announce: called with one line for the user as steps begin and end.
        loaded: the model itself, where it is not to be loaded by its name.
        rows, valid: rows in memory, instead of the files of `recipe.own`.

    Raises:
        SlonikError: no data, a model that cannot be trained so, an unknown task, `out` is there already.
    """
    for task in recipe.tasks:
        lookup(task, TASKS, "task")
    reads = [*recipe.teaching.teachers, *([] if loaded is not None else [recipe.model])]
    with Run(
        recipe.out, command="finetune", config=_plain(recipe), seed=recipe.seed, announce=announce, reads=reads,
        made_from=partial(_made_from, recipe, rows, valid, loaded is not None),
    ) as run:  # fmt: skip
        learner = open_learner(recipe, loaded)
        if recipe.own is None:
            made = _superglue(recipe, learner, run)
        else:
            made = _own(recipe, recipe.own, learner, run, rows, valid)
    single = next(iter(made[1].values())) if len(made[1]) == 1 else None
    return Finetuned(checkpoint=single, records=tuple(made[0]), models=made[1], seconds=run.seconds)


def _made_from(recipe: FinetuneRecipe, rows: Rows | None, valid: Rows | None, loaded: bool) -> Inputs:
    """What decides the result: all of the recipe but names of places, the model, and rows of one's own."""
    inputs: dict[str, Any] = {"recipe": _plain(recipe) | {"tuning": recipe.tuning.model_dump(mode="json")}}
    if not loaded:
        inputs["model"] = checkpoint_identity(resolve(recipe.model))
    if (own := recipe.own) is not None:
        inputs["train"] = rows_hash(own.train if rows is None else rows)
        measured = own.valid if valid is None else valid
        inputs["valid"] = None if measured is None else rows_hash(measured)
    return inputs


def open_learner(recipe: FinetuneRecipe, loaded: TorchEncoder | LanguageModel | None = None) -> Learner:
    """A model as a learner, by what it is.

    Args:
        loaded: the model; None: the one that the recipe names.

    Raises:
        SlonikError: there is no such model, or it cannot do what the recipe asks.
    """
    if isinstance(loaded, LanguageModel) or (loaded is None and kind_of(recipe.model).in_words):
        if recipe.teaching.teachers or recipe.multitask:
            raise SlonikError("models that answer in words take no --teacher or multitask here: leave them out")
        if recipe.few_shot:
            raise SlonikError(f"few-shot fitting is for encoders: {recipe.model} answers in words (see --shots)")
        if recipe.shots and recipe.train:
            raise SlonikError("--shots is for models asked as they are: give --no-training too, or leave it out")
        return LanguageModelLearner(recipe, loaded if isinstance(loaded, LanguageModel) else None)
    if not recipe.train or recipe.shots or recipe.denoiser:
        raise SlonikError(
            f"{recipe.model} is an encoder, whose head must be trained: --no-training, --shots and --denoiser are for "
            "T5 models and decoders"
        )
    base = loaded if isinstance(loaded, TorchEncoder) else models.load(recipe.model)
    return FewShotLearner(base) if recipe.few_shot else EncoderLearner(base)


def _own(
    recipe: FinetuneRecipe, own: OwnData, learner: Learner, run: Run, rows: Rows | None, valid: Rows | None
) -> tuple[list[Record], dict[str, Path]]:
    rows = own.train if rows is None else rows
    valid = own.valid if valid is None else valid
    task = read_own(recipe, own, learner, rows, valid)
    tell_data(task, own.train, run.announce)
    result = train_task(task.data(), learner, recipe, run)
    by_run = {name: answers[task.split] for name, answers in result.by_run().items()}
    trained_on = rows_hash(rows)
    hashes = {"data": trained_on if valid is None else rows_hash(valid)}
    settled = {seed: task.settled([run.settled for run in result.runs if run.seed == seed]) for seed in result.answers}
    together = task.settled([run.settled for run in result.runs])
    records = own_records(
        {"suite": SUITE, "task": own.name, "variant": task.split, "hashes": hashes},
        recipe.model,
        {
            seed: settled[seed].metrics(answers[task.split], result.raw.get(seed, {}).get(task.split))
            for seed, answers in result.answers.items()
        },
        together.metrics(by_run["mean"]) if "mean" in by_run else None,
        task.baselines(),
        unit=result.unit,
    )
    for told in few_items(records):
        warn_once(told)
    with run.result() as folder:
        kept = save_models(result, learner, folder, recipe, records, name=run.out.name, data=trained_on)
        for name, answers in by_run.items():
            one = together if name == "mean" else settled[int(name.removeprefix(result.unit))]
            write_predictions(folder / PREDICTIONS / name / f"{own.name}.{task.split}.jsonl", one, answers)
        write_records(folder / RESULTS, records)
        write_json(folder / DATA, {"warnings": task.warnings, "findings": [one.line() for one in task.findings]})
    return records, {own.name: run.out} if kept else {}


def tell_data(task: OwnTask, name: str, announce: Announce) -> None:
    """Say what is dirty in the user's rows, and what the split does with rare labels, before any work.

    What bears on labels and figures is a warning, said in any case; the rest is said as progress is.
    """
    for finding in task.findings:
        (warn_once if finding.serious else announce)(f"data: {finding}")
    for sentence in task.warnings:
        warn_once(f"{name}: {sentence}")


def write_predictions(path: Path, task: OwnTask, answers: dict[int | str, Any]) -> None:
    """Answers to the measured rows as JSON Lines: idx, label, and probabilities where there are some."""
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in task.lines(answers)))


def _superglue(recipe: FinetuneRecipe, learner: Learner, run: Run) -> tuple[list[Record], dict[str, Path]]:
    trained = trained_tasks(chosen_tasks(recipe, run.announce), train=recipe.train)
    tasks = {
        task: task_data(task, recipe, in_words=learner.in_words, with_diagnostic=diagnosed)
        for task, diagnosed in trained.items()
    }
    for task, (_, measured) in tasks.items():
        if recipe.train and (told := shared_texts(measured.parts[task])):
            warn_once(told)
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
            data = tasks[task][1].parts[task].hashes()["data"]
            if save_models(result, learner, folder / place, recipe, records, name=name, data=data):
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
    data: str,
) -> bool:
    """Write the task model of the run that did best on its stopping set, with passport and its task's records.

    With `recipe.keep_all` those of all seeds too, in `seeds/N`.

    Args:
        data: hash of what was learned from, for the passport.

    Returns:
        Whether there was one: a model that was asked as it is has none.
    """
    kept = [run for run in result.runs if run.fold == 0] if recipe.train else []
    if not kept:
        return False
    best = max(kept, key=lambda run: run.choice)
    _save(best, learner, folder, recipe, records, name, data)
    for run in kept if recipe.keep_all else []:
        _save(run, learner, folder / "seeds" / str(run.seed), recipe, [], str(run.seed), data)
    return True


def _save(
    run: TrainedRun,
    learner: Learner,
    folder: Path,
    recipe: FinetuneRecipe,
    records: Sequence[Record],
    name: str,
    data: str,
) -> None:
    """Write the task model of one run with its passport and training log."""
    task = run.config.task
    step = Step(
        command="finetune",
        config={"task": task, "tuning": run.tuning.model_dump(mode="json"), "recipe": _plain(recipe)},
        inputs={**learner.inputs, "data": data},
        seed=run.seed,
        seconds=run.step.seconds,
        summary={key: value for key, value in run.step.summary.items() if isinstance(value, int | float)},
    )
    tasks = {task, DIAGNOSTIC} if task == DIAGNOSED_BY else {task}
    own = [record for record in records if record.task in tasks and record.model == recipe.model]
    passport = learner.passport.with_step(step, name=name).with_records(own)
    learner.kept(run.step.folder, run.settled).save(folder, passport)
    shutil.copy(run.step.folder / "metrics.jsonl", folder / "metrics.jsonl")


def _plain(recipe: FinetuneRecipe) -> dict[str, Any]:
    """The recipe without folders of one machine."""
    content: dict[str, Any] = recipe.model_dump(mode="json", exclude={"out", "data_dir", "tuning", "own"})
    return content | ({"own": recipe.own.model_dump(mode="json", exclude={"train", "valid"})} if recipe.own else {})
