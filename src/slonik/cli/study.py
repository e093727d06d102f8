"""`slonik study repetition`: what repeating a corpus does to masked words, one denoiser and seven.

The other study, `ner`, is in `study_ner`.
"""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.study_ner import ner


def register(app: typer.Typer) -> None:
    """Add the `study` group."""
    group = typer.Typer(no_args_is_help=True, help="Studies: many small runs that answer one question.")
    group.callback()(_study)
    group.command("repetition")(repetition)
    group.command("ner")(ner)
    app.add_typer(group, name="study")


def _study() -> None:
    """Studies: many small runs that answer one question."""


def repetition(
    recipe: Path = typer.Argument(help="YAML file: corpus, sizes, objectives, seeds (recipes/repetition_tiny.yaml)."),
    corpus: list[str] = typer.Option([], help="Text files instead of the recipe's."),
    out: Path | None = typer.Option(None, help="Folder for runs, table and plots, instead of the recipe's."),
    set_: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Override any field of the recipe."),
    json_file: Path | None = typer.Option(None, "--json", help="Write result records to this file.", metavar="FILE"),
) -> None:
    """Spend one budget of tokens on a whole corpus, or on a small part of it again and again.

    Every run is kept in --out and skipped when it is done; an interrupted one goes on.

    Example:

        slonik study repetition recipes/repetition_tiny.yaml --corpus ru.txt.gz --out repetition
    """
    from rich.console import Console

    from slonik.core.config import parse_overrides, read_config
    from slonik.core.records import write_records
    from slonik.pretraining.repetition.config import RepetitionConfig
    from slonik.pretraining.repetition.study import run_study

    fields = {"corpus.files": corpus or None, "out": str(out) if out is not None else None}
    notes = Console(stderr=True)
    config = read_config(RepetitionConfig, recipe, fields | parse_overrides(set_))
    found = run_study(config, announce=lambda line: notes.print(line, highlight=False))
    typer.echo(found.table)
    if json_file is not None:
        write_records(json_file, found.records)
    typer.echo(f"table, plots and runs: {found.out}")
