"""`slonik predict TASK MODEL`: lines of JSON in, answers out, in the order of the lines, in constant memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import typer

from slonik.cli.common import warn

if TYPE_CHECKING:
    from slonik.finetuning.predict import BadLines
    from slonik.finetuning.predictors import Predictor


def predict(
    task: str = typer.Argument(help="Task id (terra, rcb, ..., lidirus), or the name of your own task (custom)."),
    model: str = typer.Argument(
        help="Folder made by `slonik finetune`, a baseline (majority, tfidf, ...), or a T5 model or decoder as it is."
    ),
    file: Path | None = typer.Argument(None, help="JSON Lines to read (default: stdin)."),
    batch_size: int = typer.Option(32, min=1, help="Rows that are read and answered together."),
    probabilities: bool = typer.Option(False, help="Add the probability of each label."),
    bad_lines: str = typer.Option(
        "report", help="A line that cannot be read: report (an object with `error` in its place), skip, or stop."
    ),
    train_data: Path | None = typer.Option(None, help="Labelled file that a baseline is fitted to."),
    data_dir: Path | None = typer.Option(None, help="Data folder in which a baseline finds its training data."),
    seed: int = typer.Option(0, help="Seed of random baselines."),
) -> None:
    """Answer rows of a task; the output of an official task is a file of a leaderboard submission.

    Example:

        slonik predict terra out/terra --batch-size 32 < test.jsonl > TERRa.jsonl
    """
    from slonik.core.errors import SlonikError
    from slonik.finetuning.predictors import open_predictor

    if bad_lines not in ("report", "skip", "stop"):
        raise SlonikError(f"--bad-lines is {bad_lines!r}: use report, skip or stop")
    predictor = open_predictor(task, model, batch_size=batch_size, train_data=train_data, data_dir=data_dir, seed=seed)
    policy = cast("BadLines", bad_lines)
    if file is None:
        _print(predictor, sys.stdin.buffer, batch_size, probabilities, policy)
        return
    try:
        with open(file, "rb") as stream:
            _print(predictor, stream, batch_size, probabilities, policy)
    except OSError as error:
        raise SlonikError(f"cannot read {file}: {error.strerror or error}") from None


def _print(predictor: Predictor, stream: BinaryIO, size: int, probabilities: bool, policy: BadLines) -> None:
    """Answers on standard output, as they come."""
    from slonik.finetuning.predict import answer_lines

    lines = answer_lines(predictor, stream, batch_size=size, probabilities=probabilities, bad_lines=policy, warn=warn)
    for line in lines:
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()
