"""`slonik predict [TASK] MODEL`: lines in, answers out, in the order of the lines, in constant memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO, cast

import typer

from slonik.cli.common import ConvertWeights, LongTexts, warn
from slonik.cli.folders import Column, Engine, Workers, are_parts, folder_out, shown, tell_parts
from slonik.cli.numbers import COUNT, SEED

if TYPE_CHECKING:
    from slonik.core.protocols import LongTexts as Way
    from slonik.finetuning.predict import BadLines
    from slonik.finetuning.predictors import Predictor


def predict(
    task: str = typer.Argument(
        metavar="[TASK]",
        help="Task id (terra, ..., lidirus) or the name of your own task; left out where MODEL says what it does.",
    ),
    model: str | None = typer.Argument(
        None,
        metavar="MODEL",
        help="Folder of a fine-tuned or exported model, hub id of one with a head of Transformers, a baseline "
        "(majority, tfidf, ...), or a T5 model or decoder as it is.",
    ),
    file: Path | None = typer.Argument(
        None,
        help="Lines of text or JSON, a .csv, .tsv or .parquet file, or a folder of Parquet and JSON Lines (default: "
        "stdin).",
    ),
    out: Path | None = typer.Option(
        None, help="New .csv, .tsv, .jsonl or .parquet file for the rows with their answers; folders: one to fill."
    ),
    batch_size: int = typer.Option(32, help="Rows that are read and answered together.", **COUNT),
    probabilities: bool = typer.Option(False, "--probabilities", help="Add the probability of each label."),
    bad_lines: str = typer.Option(
        "report", help="A line that cannot be read: report (an object with `error` in its place), skip, or stop."
    ),
    kind: str | None = typer.Option(None, "--from", help="text (a text a line) or jsonl (default: by the first line)."),
    long_texts: LongTexts = None,
    train_data: Path | None = typer.Option(None, help="Labelled file that a baseline is fitted to."),
    data_dir: Path | None = typer.Option(None, help="Data folder in which a baseline finds its training data."),
    seed: int = typer.Option(0, help="Seed of random baselines.", **SEED),
    convert_weights: ConvertWeights = False,
    column: Column = None,
    engine: Engine = None,
    workers: Workers = None,
) -> None:
    """Answer rows with a model that has a head: lines of text, or JSON Lines with the columns of its task.

    The output for an official task is a file of a leaderboard submission.

    Examples:

        slonik predict out/reviews-onnx < texts.txt > answers.jsonl

        slonik predict out/reviews reviews.csv --column text --out answered.csv

        slonik predict terra out/terra --batch-size 32 < test.jsonl > TERRa.jsonl

        slonik predict out/reviews-onnx reviews/ --column body --out answers/
    """
    from slonik.core.errors import SlonikError
    from slonik.finetuning.predictors import open_predictor
    from slonik.finetuning.tables import OUT_ENDINGS, is_table_file

    if bad_lines not in ("report", "skip", "stop"):
        raise SlonikError(f"--bad-lines is {bad_lines!r}: use report, skip or stop")
    if kind not in (None, "text", "jsonl"):
        raise SlonikError(f"--from is {kind!r}: use text or jsonl")
    named, opened, source = _arguments(task, model, file)
    into_file = out is not None and out.suffix.lower() in OUT_ENDINGS
    if source is not None and (into_file or (is_table_file(source) and source.suffix.lower() != ".parquet")):
        opening = partial(
            open_predictor, named, opened, batch_size=batch_size, train_data=train_data, data_dir=data_dir, seed=seed,
            long_texts=cast("Way | None", long_texts),
        )  # fmt: skip
        idle = {"engine": engine, "workers": workers, "from": kind}
        _table(opening, source, out, idle, column, batch_size, probabilities, cast("BadLines", bad_lines))
        return
    folders_only = {"out": out, "column": column, "engine": engine, "workers": workers}
    if are_parts([source] if source else [], folders_only):
        from slonik.finetuning.folders import predict_folder

        lines_only = {"from": kind, "bad-lines": None if bad_lines == "report" else bad_lines}
        tell_parts(
            predict_folder(
                opened, str(source), folder_out(out, lines_only), task=named, column=column, batch_size=batch_size,
                train_data=train_data, data_dir=data_dir, seed=seed, long_texts=cast("Way | None", long_texts),
                engine=engine or "local", workers=workers, **shown(),
            )
        )  # fmt: skip
        return
    predictor = open_predictor(
        named, opened, batch_size=batch_size, train_data=train_data, data_dir=data_dir, seed=seed,
        long_texts=cast("Way | None", long_texts),
    )  # fmt: skip
    policy = cast("BadLines", bad_lines)
    if source is None:
        _print(predictor, sys.stdin.buffer, batch_size, probabilities, policy, kind)
        return
    try:
        with open(source, "rb") as stream:
            _print(predictor, stream, batch_size, probabilities, policy, kind)
    except OSError as error:
        raise SlonikError(f"cannot read {source}: {error.strerror or error}") from None


def _table(
    opening: Callable[[], Predictor],
    source: Path,
    out: Path | None,
    idle: Mapping[str, object],
    column: str | None,
    size: int,
    probabilities: bool,
    policy: BadLines,
) -> None:
    """One file of rows in, one out; without --out answers go to standard output as JSON Lines."""
    from slonik.core.errors import SlonikError
    from slonik.finetuning.predictors import cut_sentence
    from slonik.finetuning.tables import predict_table

    for name, value in idle.items():
        if value is not None:
            raise SlonikError(f"--{name} is not for a single file of rows: leave it out")
    with ExitStack() as stack:
        place = out or Path(stack.enter_context(TemporaryDirectory())) / "answers.jsonl"
        predictor = opening()
        found = predict_table(
            predictor, source, place, column=column, batch_size=size, probabilities=probabilities, bad_lines=policy
        )
        if out is None:
            sys.stdout.write(place.read_text(encoding="utf-8"))
        else:
            typer.echo(f"{found.rows:,} rows with {', '.join(found.columns)}: {out}")
    warn(filter(None, [cut_sentence(predictor, found.rows)]))
    if found.faults:
        sentence = f"{len(found.faults)} rows were not answered; the first: {found.faults[0]}"
        if policy == "report":
            raise SlonikError(sentence)
        warn(sentence)


def _arguments(first: str, second: str | None, third: Path | None) -> tuple[str | None, str, Path | None]:
    """(task, model, file): a task stands first where a model follows it."""
    if third is not None:
        return first, str(second), third
    if second is None:
        return None, first, None
    is_model = Path(first).is_dir() or "/" in first or first.startswith("embedded:")
    if (is_model and not Path(second).is_dir()) or Path(second).is_file() or _holds_rows(second):
        return None, first, Path(second)
    return first, second, None


def _holds_rows(name: str) -> bool:
    """Whether it is a folder of Parquet and JSON Lines, and no model."""
    from slonik.data.part_files import holds_parts

    path = Path(name)
    return path.is_dir() and not (path / "config.json").is_file() and holds_parts(path)


def _print(
    predictor: Predictor, stream: BinaryIO, size: int, probabilities: bool, policy: BadLines, kind: str | None
) -> None:
    """Answers on standard output, as they come."""
    from slonik.finetuning.predict import answer_lines
    from slonik.finetuning.predictors import cut_sentence
    from slonik.text.lines import json_line

    lines = answer_lines(
        predictor, stream, batch_size=size, probabilities=probabilities, bad_lines=policy, kind=kind, warn=warn
    )
    count = 0
    try:
        for line in lines:
            count += 1
            sys.stdout.write(json_line(line) + "\n")
            sys.stdout.flush()
    finally:
        warn(filter(None, [cut_sentence(predictor, count)]))
