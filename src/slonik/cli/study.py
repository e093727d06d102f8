"""`slonik study`: what repeating a corpus does to language models; the ladder of taggers on one's own annotations."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import JsonFile, Overrides, announce, file_to_write, print_scores, save_records, split_numbers
from slonik.cli.numbers import COUNT


def register(app: typer.Typer) -> None:
    """Add the `study` group."""
    group = typer.Typer(no_args_is_help=True, help="Studies: many small runs that answer one question.")
    group.command("repetition")(repetition)
    group.command("ner")(ner)
    app.add_typer(group, name="study")


def repetition(
    recipe: Path = typer.Argument(help="YAML file: corpus, sizes, objectives, seeds (recipes/repetition_tiny.yaml)."),
    corpus: list[str] = typer.Option([], help="Text files instead of the recipe's."),
    out: Path | None = typer.Option(None, help="Folder for runs, table and plots, instead of the recipe's."),
    set_: Overrides = [],  # noqa: B006
    json_file: JsonFile = None,
) -> None:
    """Spend one budget of tokens on a whole corpus, or on a small part of it again and again.

    Every run is kept in --out and skipped when it is done; an interrupted one goes on.

    Example:

        slonik study repetition recipes/repetition_tiny.yaml --corpus ru.txt.gz --out repetition
    """
    from slonik.core.config import configure
    from slonik.pretraining.repetition.config import RepetitionConfig
    from slonik.pretraining.repetition.study import run_study

    fields = {"corpus.files": corpus or None, "out": str(out) if out is not None else None}
    found = run_study(configure(RepetitionConfig, recipe, fields, set_), announce=announce)
    typer.echo(found.table)
    save_records(json_file, found.records)
    typer.echo(f"table, plots and runs: {found.out}")


def ner(
    recipe: Path = typer.Argument(help="YAML file: systems, folds, mapping of labels (recipes/ner_seccoll.yaml)."),
    data: Path | None = typer.Option(None, help="Annotated texts: a BRAT folder, CoNLL, JSONL, Parquet."),
    data_dir: Path | None = typer.Option(None, help="Instead of --data: the folder that holds seccoll/."),
    kind: str | None = typer.Option(None, "--from", help="brat, conll, jsonl, hf (default: guess)."),
    out: Path | None = typer.Option(None, help="Folder for taggers, predictions, records and table."),
    unlabelled: list[str] = typer.Option([], help="Text files that teachers label, instead of the recipe's."),
    system: list[str] = typer.Option([], help="Run only systems of these names (repeat), and those they learn from."),
    run_folds: str | None = typer.Option(None, help="Test folds to run, for example 0 or 0,1,2,3,4."),
    seeds: int | None = typer.Option(
        None, help="Trainings of each system on each fold (1); figures are means.", **COUNT
    ),
    learning: bool = typer.Option(False, "--learning", help="Train on 10, 25 and 50 % of the texts too."),
    kept_fold: bool = typer.Option(
        False, "--kept-fold", help="At last: test on the fold that the recipe keeps (kept_fold)."
    ),
    set_: Overrides = [],  # noqa: B006
    json_file: JsonFile = None,
    html: Path | None = typer.Option(
        None, help="Write a page with tables and every mistake in context.", callback=file_to_write
    ),
) -> None:
    """Train CRF, BiLSTMs, encoders and BiLSTMs distilled from an encoder; test them on whole documents of other folds.

    Every (system, fold) is kept in OUT/runs and skipped when it is done; an interrupted ladder goes on.

    Example:

        slonik study ner recipes/ner_seccoll.yaml --data data/seccoll --unlabelled security.txt --out ladder
    """
    from slonik.tagging.study import study_taggers

    folds = split_numbers(run_folds, "--run-folds", least=0) if run_folds is not None else None
    found = study_taggers(
        recipe, data, data_dir=data_dir, data_format=kind, out=out, unlabelled=unlabelled, systems=system,
        run_folds=folds, seeds=seeds, learning=(0.1, 0.25, 0.5) if learning else (), kept_fold=kept_fold,
        html=html, set=set_, announce=announce,
    )  # fmt: skip
    print_scores(found.tables, found.records)
    save_records(json_file, found.records)
    if html is not None:
        announce(f"page -> {html}")
    announce(f"taggers, predictions, records and table: {found.out}")
