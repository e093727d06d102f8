"""`slonik evaluate russian-superglue MODEL...`: nine tasks, baselines beside, and the zip for the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import (
    DataDir,
    JsonFile,
    add_to_passport,
    announce_task,
    print_tables,
    save_records,
    split_names,
    warn,
)

if TYPE_CHECKING:
    from slonik.core.records import Record
    from slonik.evaluation.russian_superglue.parts import Part
    from slonik.evaluation.russian_superglue.run import Evaluation
    from slonik.evaluation.russian_superglue.systems import System


def russian_superglue(
    models: list[str] = typer.Argument(
        help="Baselines (majority, random_weighted, heuristic_majority, tfidf), task-model folders made by `slonik "
        "finetune`, folders of predictions, or submission zips."
    ),
    data_dir: DataDir = None,
    json_file: JsonFile = None,
    tasks: str | None = typer.Option(
        None, help="Comma-separated: terra,rcb,parus,muserc,rucos,russe,rwsd,danetqa,lidirus."
    ),
    split: str | None = typer.Option(None, help="val, test, val_crowd or train_dev (default: the first with labels)."),
    submission: Path | None = typer.Option(None, help="Answer the nine test sets and write the leaderboard's zip."),
    predictions: Path | None = typer.Option(None, help="Write each MODEL's answers to a folder in this folder."),
    baselines: bool = typer.Option(True, help="Score the baselines on the same items beside the models."),
    published: bool = typer.Option(True, help="Add the leaderboard's rows, marked as not measured here."),
    seed: int = typer.Option(0, help="Seed of the bootstrap and of random baselines."),
    passport: bool = typer.Option(True, help="Add the records to the passport of a MODEL that is a checkpoint."),
) -> None:
    """Score models on the tasks of Russian SuperGLUE whose labelled data is there, with intervals and baselines.

    Example: slonik evaluate russian-superglue majority tfidf runs/terra --data-dir data --json found.json
    """
    from slonik.core.paths import data_dir as data_folder
    from slonik.evaluation.russian_superglue.systems import find_system

    folder = data_folder(data_dir)
    systems = [find_system(model, _model_answer, seed=seed) for model in dict.fromkeys(models)]
    if submission is not None:
        _submit(systems, folder, submission)
        if split is None and not _has_labels(folder):
            return
    parts, missing = _parts(systems, folder, tasks, split)
    found = [_run(system, parts, seed) for system in systems]
    beside = _baselines(found, parts, seed) if baselines else []
    records, differences = _records(found, beside)
    _show(parts, missing, records, differences, published)
    if predictions is not None:
        _write_predictions(predictions, found, parts, seed)
    if passport:
        for system, evaluation in zip(systems, found, strict=True):
            _stamp(system.folder, evaluation.records)
    save_records(json_file, [*records, *differences])


def _model_answer(folder: Path, part: Part) -> list[object]:
    """Answers of a task model; the libraries that it needs are imported when it is run."""
    from slonik.finetuning.predictors import answer_part

    return list(answer_part(folder, part))


def _has_labels(folder: Path) -> bool:
    from slonik.evaluation.russian_superglue.parts import find_part
    from slonik.evaluation.russian_superglue.tasks import TASKS

    return any(find_part(task, folder) is not None for task in TASKS)


def _parts(
    systems: Sequence[System], folder: Path, tasks: str | None, split: str | None
) -> tuple[dict[str, Part], dict[str, str]]:
    from slonik.evaluation.russian_superglue.systems import choose_parts

    return choose_parts(systems, folder, tasks=split_names(tasks), split=split)


def _run(system: System, parts: Mapping[str, Part], seed: int) -> Evaluation:
    from slonik.evaluation.russian_superglue.run import evaluate

    own = {task: part for task, part in parts.items() if system.answers(task)}
    announce_task(system.name, ", ".join(own))
    return evaluate(system.name, system.answer, own, seed=seed, weights=system.weights)


def _baselines(found: Sequence[Evaluation], parts: Mapping[str, Part], seed: int) -> list[Evaluation]:
    """Baselines on the items that any model answered; those that are named as models are taken from there."""
    from slonik.core.errors import MissingExtra
    from slonik.evaluation.russian_superglue import baselines
    from slonik.evaluation.russian_superglue.run import evaluate
    from slonik.evaluation.russian_superglue.systems import baseline

    answered = {task: part for task, part in parts.items() if any(task in one.tasks for one in found)}
    named = {one.model: one for one in found}
    beside = []
    for name in baselines.BASELINES:
        if name not in named:
            announce_task(name, ", ".join(answered))
        try:
            beside.append(named.get(name) or evaluate(name, baseline(name, seed=seed), answered, seed=seed))
        except MissingExtra as error:
            warn(f"without the baseline {name}: {error}")
    return beside


def _records(found: Sequence[Evaluation], beside: Sequence[Evaluation]) -> tuple[list[Record], list[Record]]:
    from slonik.evaluation.russian_superglue.run import differences

    others = [evaluation for evaluation in beside if evaluation not in found]
    names = {evaluation.model for evaluation in beside}
    models = [evaluation for evaluation in found if evaluation.model not in names]
    records = [record for evaluation in (*found, *others) for record in evaluation.records]
    return records, differences(models, beside)


def _submit(systems: Sequence[System], folder: Path, path: Path) -> None:
    from slonik.core.errors import SlonikError
    from slonik.evaluation.russian_superglue.submission import check_complete, read_submission, write_submission
    from slonik.evaluation.russian_superglue.systems import official_tests

    if len(systems) != 1:
        raise SlonikError(f"--submission packs the answers of one model, {len(systems)} are named: name one")
    parts = official_tests(folder)
    check_complete(parts, "test files")
    system = systems[0]
    check_complete({task: part for task, part in parts.items() if system.answers(task, "test")}, "predictions")
    tests = {task: part.examples for task, part in parts.items()}
    write_submission(path, {task: system.answer(part) for task, part in parts.items()}, tests)
    read_submission(path, tests)
    typer.echo(f"submission: {path} ({', '.join(f'{parts[t].task.name} {len(parts[t].examples)}' for t in parts)})")


def _write_predictions(folder: Path, found: Sequence[Evaluation], parts: Mapping[str, Part], seed: int) -> None:
    from slonik.core.paths import own_names
    from slonik.evaluation.russian_superglue.predictions import predicted, write_predictions

    names = own_names([evaluation.model for evaluation in found])
    for evaluation, name in zip(found, names, strict=True):
        for task, rows in evaluation.answers.items():
            part = parts[task]
            whole = predicted(task, part.split, part.examples, rows, model=evaluation.model, seed=seed)
            write_predictions(folder / name, whole)
        typer.echo(f"predictions of {evaluation.model}: {folder / name}")


def _show(
    parts: Mapping[str, Part], missing: Mapping[str, str], records: Sequence[Record], differences: Sequence[Record],
    published: bool,
) -> None:  # fmt: skip
    from slonik.evaluation.russian_superglue.parts import parts_table, size_warnings
    from slonik.evaluation.russian_superglue.records import published_records
    from slonik.reporting.scores import category_tables, difference_tables, rank_tables, score_tables

    print_tables([parts_table(list(parts.values()))])
    warn(size_warnings(list(parts.values())))
    if missing:
        names = "; ".join(f"{task} ({files})" for task, files in missing.items())
        typer.echo(f"not scored, as their labelled files are not there: {names}. There is no nine-task score without.")
    beside = published_records() if published else []
    print_tables([
        *score_tables([*records, *beside]),
        *difference_tables(differences),
        *category_tables(records),
        *rank_tables(records),
    ])  # fmt: skip


def _stamp(folder: Path | None, records: Sequence[Record]) -> None:
    from slonik.core.passport import FILE_NAME

    if folder is not None and (folder / FILE_NAME).is_file():  # a folder of predictions is no checkpoint
        add_to_passport(folder, records)
