"""`slonik evaluate own DATA MODEL...`: models on labelled rows of the user's own, and what they do wrong."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import JsonFile, announce_task, file_to_write, save_records, show_evaluation, split_numbers
from slonik.cli.numbers import COUNT, SEED


def own(
    data: Path = typer.Argument(help="Labelled rows to measure on: .csv, .tsv, .jsonl or .parquet."),
    models: list[str] = typer.Argument(
        help="Models with a head, T5 and decoders that were fine-tuned (folders, hub ids, exported ones); with --train "
        "also majority, tfidf, and encoders without a head, on whose vectors a logistic regression is fitted."
    ),
    train: Path | None = typer.Option(None, help="Labelled rows: baselines, and heads for encoders without one."),
    kind: str | None = typer.Option(
        None, help="classification, multilabel, pair, regression, text2text (the model's)."
    ),
    text_column: list[str] = typer.Option([], help="Column with the text; twice for pairs (default: the model's)."),
    label_column: str | None = typer.Option(None, help="Column with the label, number or text (default: the model's)."),
    name: str | None = typer.Option(None, help="Name of the task (default: the model's)."),
    curve: str | None = typer.Option(
        None, help="Comma-separated numbers of --train rows: what encoders without a head and TF-IDF learn from them."
    ),
    html: Path | None = typer.Option(
        None, help="Page with every row, what is right and what each model says.", callback=file_to_write
    ),
    predictions: Path | None = typer.Option(
        None, help="New folder for every model's answers: slonik board shows two models row by row from it."
    ),
    json_file: JsonFile = None,
    batch_size: int = typer.Option(32, help="Rows that are answered together.", **COUNT),
    seed: int = typer.Option(0, help="Seed of the bootstrap, and of the rows of the learning curve.", **SEED),
    passport: bool = typer.Option(True, help="Add the records to the passport of a MODEL that is a checkpoint."),
) -> None:
    """Metrics with intervals and paired differences, rows that change from model to model, per label, confusions,
    errors as a page, a learning curve.

    Examples:

        slonik evaluate own valid.csv out/reviews --html errors.html --json found.json

        slonik evaluate own valid.csv slonik-mini-ru tfidf --train train.csv --curve 8,32,128,512
    """
    from slonik.finetuning.own_evaluation import evaluate_own

    found = evaluate_own(
        data, models, train=train, kind=kind, text_columns=text_column, label_column=label_column, name=name,  # type: ignore[arg-type]
        curve=split_numbers(curve, "--curve", least=2) if curve is not None else (), page=html, predictions=predictions,
        batch_size=batch_size, seed=seed, passport=passport, on_task=announce_task,
    )  # fmt: skip
    show_evaluation(found)
    if found.page is not None:
        typer.echo(f"page: {found.page}")
    save_records(json_file, found.records)
