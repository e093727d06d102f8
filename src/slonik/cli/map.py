"""`slonik map MODEL [FILE]`: words or sentences on a plane, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import typer

from slonik.cli.common import Device, JsonFile, file_to_write, save_records
from slonik.cli.numbers import PLACE, SEED, whole


def register(app: typer.Typer) -> None:
    """Add the `map` command."""
    app.command("map")(map_)


def map_(
    model: str = typer.Argument(help="Word vectors (navec, a file, a folder of `slonik words train`), or any encoder."),
    file: Path | None = typer.Argument(
        None, help="A text a line, behind a tab what it is coloured by (default: the model's own words)."
    ),
    html: Path = typer.Option(..., help="The page to write.", metavar="FILE", callback=file_to_write),
    method: str = typer.Option("pca", help="pca, or umap (extra umap)."),
    words: bool = typer.Option(
        False, "--words", help="The lines are words: a transformer's tokens are asked, or --layer."
    ),
    layer: int | None = typer.Option(None, help="Of a transformer: this layer, 0 = what goes into the first.", **PLACE),
    prefix: str | None = typer.Option(None, help="Text before every text (default: the model's own)."),
    limit: int | None = typer.Option(None, metavar="N", help="The first N points (50,000).", **whole(3)),
    title: str | None = typer.Option(None, help="The page's title."),
    seed: int | None = typer.Option(None, help="Seed of UMAP (0).", **SEED),
    json_file: JsonFile = None,
    device: Device = None,
) -> None:
    """Put words or sentences on a plane: one self-contained page with search, labels and selection.

    Examples:

        slonik map navec --limit 20000 --html words.html

        slonik map embedded:multilingual-e5-small news.txt --method umap --html news.html
    """
    from slonik.words.map import draw_map

    found = draw_map(
        model, file, html=html, method=cast(Any, method), words=words, layer=layer, prefix=prefix, limit=limit,
        title=title, seed=seed, device=device,
    )  # fmt: skip
    typer.echo(str(found))
    save_records(json_file, found.records)
