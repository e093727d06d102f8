"""`slonik inspect MODEL`: what heads do and how much they matter, whose layers are alike, which neurons carry what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import (
    Device,
    JsonFile,
    TrustRemoteCode,
    file_to_write,
    folder_to_fill,
    print_tables,
    save_records,
    split_names,
)

if TYPE_CHECKING:
    from slonik.core.records import Record


def register(app: typer.Typer) -> None:
    """Add the `inspect` command."""
    app.command("inspect")(inspect)


def inspect(
    model: str = typer.Argument(help="Folder, hub id, or embedded:NAME."),
    heads: bool = typer.Option(False, "--heads", help="Importance of every head by several criteria; masking curve."),
    attention: str | None = typer.Option(None, help="Attention on this TEXT: interactive page with --html, metrics."),
    like: str | None = typer.Option(None, help="Similarity of the layers to those of this model, on --texts."),
    neurons: str | None = typer.Option(None, help="Rank neurons for this probing task (its file in --data-dir)."),
    texts: Path | None = typer.Option(None, help="Texts to look at (default: a hundred Russian sentences of our own)."),
    limit: int | None = typer.Option(
        None, help="At most this many texts (default: 64; 1000 with --like) and sentences of --neurons (default: all)."
    ),
    treebank: Path | None = typer.Option(None, help="With --attention: which heads follow the syntax of this CoNLL-U."),
    orders: str = typer.Option("gate,fisher,taylor,magnitude,left_out,random", help="With --heads: which criteria."),
    measures: str = typer.Option("cka", help="With --like: cka, maxcorr, linreg, svcca, pwcca; comma-separated."),
    prefix: str | None = typer.Option(None, help="Text before every text (default: the model's own)."),
    data_dir: Path | None = typer.Option(None, help="With --neurons: data folder with rusenteval/ in it."),
    json_file: JsonFile = None,
    html: Path | None = typer.Option(None, help="Write a page to this file.", callback=file_to_write),
    png: Path | None = typer.Option(None, help="Write the plots to this folder.", callback=folder_to_fill),
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Look inside a model: heads, attention, similarity of layers, neurons; any of them together.

    Example: slonik inspect embedded:multilingual-e5-small --attention "Слон идёт домой." --html attention.html
    """
    from slonik.core.errors import SlonikError
    from slonik.core.files import write_bytes, write_text
    from slonik.inspection.attention import attention as attention_of
    from slonik.inspection.attention import text_attention
    from slonik.inspection.heads import head_importance
    from slonik.inspection.inputs import TEXTS, open_transformer, texts_of
    from slonik.inspection.neurons import neurons as neurons_of
    from slonik.inspection.page import inspection_page, inspection_plots, inspection_tables
    from slonik.inspection.similarity import TEXTS as MANY_TEXTS
    from slonik.inspection.similarity import similarity

    if not (heads or attention is not None or like or neurons):
        raise SlonikError("say what to look at: --heads, --attention TEXT, --like MODEL or --neurons TASK")
    if limit is not None and limit < 2:
        raise SlonikError(f"--limit is {limit}: give 2 or more")
    if attention is not None and not attention.strip():
        raise SlonikError("--attention has no text to look at")
    encoder = open_transformer(model, device=device, trust_remote_code=trust_remote_code)
    sample = texts_of(texts, limit or TEXTS)
    records: list[Record] = []
    if heads:
        records += head_importance(encoder, sample, orders=_split(orders, "--orders"), prefix=prefix).records
    if attention is not None:
        own = [attention, *sample] if texts else [attention]
        records += attention_of(encoder, own, treebank=treebank, prefix=prefix).records
    if like:
        other = open_transformer(like, device=device, trust_remote_code=trust_remote_code)
        many = texts_of(texts, limit or MANY_TEXTS)
        records += similarity(encoder, other, many, measures=_split(measures, "--measures"), prefix=prefix).records
    if neurons:
        records += neurons_of(encoder, neurons.strip(), data_dir=data_dir, prefix=prefix, limit=limit).records
    print_tables(inspection_tables(records))
    save_records(json_file, records)
    if png is not None:
        for name, plot in inspection_plots(records).items():
            write_bytes(png / f"{name}.png", plot.png)
    if html is not None:
        shown = None if attention is None else text_attention(encoder, attention, prefix=prefix)
        write_text(html, inspection_page(model, records, shown))


def _split(names: str, option: str) -> list[str]:
    from slonik.core.errors import SlonikError

    found = split_names(names)
    if found is None:
        raise SlonikError(f"{option} names none: give one at least")
    return found
