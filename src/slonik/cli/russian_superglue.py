"""`slonik evaluate russian-superglue MODEL...`: nine tasks, baselines beside, and the zip for the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import (
    DataDir,
    JsonFile,
    announce_task,
    file_to_write,
    folder_to_fill,
    save_records,
    show_evaluation,
    split_names,
)
from slonik.cli.numbers import SEED

if TYPE_CHECKING:
    from slonik.evaluation.russian_superglue.parts import Part
    from slonik.evaluation.russian_superglue.predictions import Prediction


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
    submission: Path | None = typer.Option(
        None, help="Answer the nine test sets and write the leaderboard's zip.", callback=file_to_write
    ),
    predictions: Path | None = typer.Option(
        None, help="Write each MODEL's answers to a folder in this folder.", callback=folder_to_fill
    ),
    baselines: bool = typer.Option(True, help="Score the baselines on the same items beside the models."),
    published: bool = typer.Option(True, help="Add the leaderboard's rows, marked as not measured here."),
    seed: int = typer.Option(0, help="Seed of the bootstrap and of random baselines.", **SEED),
    passport: bool = typer.Option(True, help="Add the records to the passport of a MODEL that is a checkpoint."),
) -> None:
    """Score models on the tasks of Russian SuperGLUE whose labelled data is there, with intervals and baselines.

    Example: slonik evaluate russian-superglue majority tfidf runs/terra --data-dir data --json found.json
    """
    from slonik.evaluation.russian_superglue.suite import russian_superglue as measure

    found = measure(
        models, data_dir=data_dir, tasks=split_names(tasks, "--tasks"), split=split, baselines=baselines,
        published=published, predictions=predictions, submission=submission, seed=seed, passport=passport, run=_run,
        on_task=announce_task,
    )  # fmt: skip
    show_evaluation(found)
    if found.records:  # none where a submission was all that could be made
        save_records(json_file, found.records)


def _run(folder: Path, part: Part) -> list[Prediction]:
    """Answers of a task model; the libraries that it needs are imported when it is run."""
    from slonik.finetuning.predictors import answer_part

    return answer_part(folder, part)
