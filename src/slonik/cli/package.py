"""`slonik package MODEL`: a distribution that ships a model, which pip installs and `embedded:NAME` opens."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import ConvertWeights, announce, print_tables, text_of


def package(
    model: str = typer.Argument(
        help="Checkpoint of a sentence encoder (folder, hub id, embedded:NAME), or static model."
    ),
    out: Path = typer.Option(..., help="Folder of the distribution, for example models/slonik-mini-ru."),
    name: str | None = typer.Option(None, help="Of the distribution and of the model (default: the folder's name)."),
    version: str = typer.Option("0.1.0", help="Of the distribution."),
    licence: list[str] = typer.Option(
        [],
        metavar="NAME=LICENCE",
        help="A model that it was made from and its passport does not name: MIT or Apache-2.0.",
    ),
    about: Path | None = typer.Option(None, help="Markdown file for the card: how it was made, data, licences."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the folder if it is there."),
    convert_weights: ConvertWeights = False,
) -> None:
    """Make a Python distribution of a model: int8 weights in one file for onnxruntime and torch, card, licences.

    Examples:

        slonik package runs/student --out models/slonik-mini-ru --version 0.1.0 --about how.md

        pip install models/slonik-mini-ru && slonik encode embedded:slonik-mini-ru < texts.txt
    """
    from slonik.exporting.package.licences import given_licences
    from slonik.exporting.package.run import package as run

    report = run(
        model, out, name=name, version=version, licences=given_licences(licence), about=text_of(about, "--about"),
        overwrite=overwrite, announce=announce,
    )  # fmt: skip
    print_tables([report.table()])
    for sentence in report.sentences():
        typer.echo(sentence)
