"""`slonik data convert`: annotated texts from one format to another; corpora to shards. `probing`: see data_probing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.data_probing import probing

if TYPE_CHECKING:
    from collections import Counter


def register(app: typer.Typer) -> None:
    """Add the `data` group."""
    group = typer.Typer(no_args_is_help=True, help="Prepare texts and annotations.")
    group.callback()(_data)
    group.command("convert")(convert)
    group.command("probing")(probing)
    app.add_typer(group, name="data")


def _data() -> None:
    """Prepare texts and annotations."""


def convert(
    source: Path = typer.Argument(metavar="IN", help="A file or folder: BRAT, CoNLL, JSONL, Parquet."),
    to: str = typer.Option(..., help="brat, conll, jsonl (spans) or hf (tokens and ner_tags)."),
    out: Path = typer.Option(..., help="Folder to make."),
    kind: str | None = typer.Option(None, "--from", help="Format of IN: brat, conll, jsonl, hf (default: guess)."),
    mapping: Path | None = typer.Option(None, help="Recipe whose `mapping` merges and drops labels."),
    scheme: str = typer.Option("BIO", help="Tags of conll and hf: BIO or BIOES."),
    overlaps: str | None = typer.Option(
        None, help="Who stays where spans overlap and tags cannot: longest (default), shortest, first."
    ),
    parquet: bool = typer.Option(False, help="hf as Parquet instead of JSONL."),
    json_file: Path | None = typer.Option(None, "--json", help="Write the counts to this file."),
) -> None:
    """Convert annotations without moving a character; what a format cannot hold is counted and shown.

    Example: slonik data convert seccoll --to conll --scheme BIOES --mapping recipes/ner_seccoll.yaml --out conll
    """
    from slonik.core.atomic import new_folder, write_json
    from slonik.core.errors import SlonikError
    from slonik.core.lookup import unknown_name
    from slonik.data.annotations.formats import FORMATS, read_documents, write_documents
    from slonik.data.annotations.mapping import Counts, read_mapping
    from slonik.data.annotations.overlaps import POLICIES
    from slonik.data.annotations.tags import SCHEMES

    if to not in FORMATS:
        raise SlonikError(unknown_name(to, FORMATS, "--to format"))
    if scheme.upper() not in SCHEMES:
        raise SlonikError(f"--scheme is {scheme!r}: use {' or '.join(SCHEMES)}")
    if overlaps is not None and overlaps not in POLICIES:
        raise SlonikError(f"--overlaps is {overlaps!r}: use {', '.join(POLICIES)}")
    labels = read_mapping(mapping)
    counts = Counts()
    documents = labels.apply(read_documents(source, counts, kind=kind), counts)
    with new_folder(out) as folder:
        written = write_documents(
            documents, folder, to, counts, scheme="BIO" if scheme.upper() == "BIO" else "BIOES",
            policy=overlaps or labels.overlaps, parquet=parquet,  # type: ignore[arg-type]
        )  # fmt: skip
    typer.echo(f"{written:,} documents -> {out}")
    tell_counts(counts)
    if json_file is not None:
        write_json(json_file, {"documents": written, "counts": dict(counts)})


def tell_counts(counts: Counter[str]) -> None:
    """Say on stderr what was left out or changed on the way."""
    for words, count in sorted(counts.items()):
        if count:
            typer.echo(f"  {count:,} {words}", err=True)
