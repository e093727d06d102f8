"""`slonik study repetition`: what repeating a corpus does to masked words, one denoiser and seven.

The other study, `ner`, is in `study_ner`.
"""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import JsonFile, Overrides, announce, save_records
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
