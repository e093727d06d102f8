"""`slonik board DIR... --out site` writes the board; `slonik board check FILE` checks what a third party hands in."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import DataDir, announce, file_to_write, group_with, warn
from slonik.cli.numbers import SEED

_DEFAULT = "build"


def register(app: typer.Typer) -> None:
    """Add the `board` group."""
    group = typer.Typer(
        cls=group_with(_DEFAULT), no_args_is_help=True,
        help="One static site where models meet: slonik board DIR... --out site.",
    )  # fmt: skip
    group.command(_DEFAULT)(build)
    group.command("check")(check)
    app.add_typer(group, name="board")


def build(
    results: list[Path] = typer.Argument(
        help="Result files (--json, .csv), checkpoints, folders of runs with everything below them.", metavar="DIR..."
    ),
    out: Path = typer.Option(..., help="Folder of the site; its index.html opens without a server.", metavar="DIR"),
    title: str = typer.Option("Models side by side", help="The board's title."),
    about: str = typer.Option("", help="A sentence for the page About.", metavar="TEXT"),
    published: bool = typer.Option(True, help="Add what others published, in rows of their own."),
    rumteb: Path | None = typer.Option(
        None, help="A newer reading of MTEB(rus)'s published results than slonik's own.", metavar="FILE"
    ),
    alias: list[str] | None = typer.Option(None, help="Two names of one model; may be repeated.", metavar="NAME=MODEL"),
    data_dir: DataDir = None,
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a folder that is there."),
) -> None:
    """A site of everything measured: sorted, searched and filtered tables, intervals, ranks as ranges, model pages.

    Example: slonik board runs models --out site, then open site/index.html. Files of predictions that lie in the
    folders let two models be compared item by item, with texts where --data-dir has them.
    """
    from slonik.core.errors import SlonikError
    from slonik.evaluation.board import board

    aliases = {}
    for pair in alias or []:
        name, sign, model = pair.partition("=")
        if not (name and sign and model):
            raise SlonikError(f"--alias is {pair!r}: give NAME=MODEL, two names of one model")
        aliases[name] = model
    found = board(
        results, out=out, title=title, about=about, published=published, rumteb=rumteb, aliases=aliases,
        data_dir=data_dir, overwrite=overwrite,
    )  # fmt: skip
    for line in found.notices:
        announce(line)
    typer.echo(f"{found.models:,} models, {found.figures:,} figures, {found.tables} tables: {found.page}")


def check(
    file: Path = typer.Argument(
        help="Records (.json, .csv), or predictions (.jsonl with their header).", metavar="FILE"
    ),
    by: str | None = typer.Option(None, help="Who measured (default: as the records say).", metavar="NAME"),
    against: list[Path] | None = typer.Option(
        None, help="Results of ours, whose items and protocols theirs are held against; may be repeated.", metavar="DIR"
    ),
    data_dir: DataDir = None,
    out: Path | None = typer.Option(
        None,
        help="Write the accepted records here, for slonik board to read.",
        metavar="FILE.json",
        callback=file_to_write,
    ),
    seed: int = typer.Option(0, help="Seed of the bootstrap of predictions.", **SEED),
) -> None:
    """Check what a third party hands in: hash of items, protocol, intervals, who measured; it stands as "reported by".

    Example: slonik board check theirs.csv --by "Lab of N" --against runs --out reported/lab_of_n.json
    """
    from slonik.evaluation.board import check_submission

    found = check_submission(file, by=by, against=against or (), data_dir=data_dir, out=out, seed=seed)
    warn(found.notices)
    models = len({record.model for record in found.records})
    typer.echo(
        f"{len(found.records)} figures of {models} model{'s' if models != 1 else ''} reported by {found.by}: accepted, "
        f"{found.confirmed} of them on the items and by the protocol of ours"
    )
    if out is not None:
        typer.echo(f"records: {out}")
