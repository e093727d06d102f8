"""`slonik card PACKAGE`: the card of a distribution, with what it lacks measured."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import DataDir, announce, split_names, text_of


def card(
    package: Path = typer.Argument(help="Folder of the distribution, for example models/slonik-mini-ru."),
    measure: str | None = typer.Option(
        None, metavar="PARTS", help="encodechka, speed, character, by commas: measured on the installed package."
    ),
    against: list[str] = typer.Option([], metavar="MODEL", help="A model to measure beside it; may be repeated."),
    records: list[Path] = typer.Option([], metavar="FILE", help="Results measured already (--json of other commands)."),
    about: Path | None = typer.Option(None, help="Markdown file: how it was made, from which data and licences."),
    data_dir: DataDir = None,
    pairs: Path | None = typer.Option(
        None, help="English-Russian texts for character (.tsv, .po, .mo; default: messages of installed programs)."
    ),
) -> None:
    """Write the card (README.md) of a distribution from its passport; measure what is to be in it.

    Examples:

        slonik card models/slonik-mini-ru --measure character --against embedded:multilingual-e5-small

        slonik card models/slonik-mini-ru --measure encodechka,speed --data-dir data --about how.md
    """
    from slonik.evaluation.card import card as run

    found = run(
        package, measure=split_names(measure, "--measure") or (), against=against, records=records,
        about=text_of(about, "--about") or None, data_dir=data_dir, pairs=pairs, announce=announce,
    )  # fmt: skip
    typer.echo(f"{found.report}: {len(found.records)} records")
