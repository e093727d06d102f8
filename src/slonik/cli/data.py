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
    source: list[str] = typer.Argument(
        metavar="IN...", help="Annotations: a file or folder (BRAT, CoNLL, JSONL, Parquet). Corpora: files, hub:NAME."
    ),
    to: str | None = typer.Option(
        None, help="brat, conll, jsonl (spans), hf (tokens and ner_tags); shards (the default with --tokenizer)."
    ),
    out: Path = typer.Option(..., help="Folder to make."),
    kind: str | None = typer.Option(None, "--from", help="Format of IN: brat, conll, jsonl, hf (default: guess)."),
    mapping: Path | None = typer.Option(None, help="Recipe whose `mapping` merges and drops labels."),
    scheme: str = typer.Option("BIO", help="Tags of conll and hf: BIO or BIOES."),
    overlaps: str | None = typer.Option(
        None, help="Who stays where spans overlap and tags cannot: longest (default), shortest, first."
    ),
    parquet: bool = typer.Option(False, help="hf as Parquet instead of JSONL."),
    tokenizer: str | None = typer.Option(None, help="Shards: tokenizer folder, checkpoint, hub id or embedded:NAME."),
    column: str | None = typer.Option(None, help="Shards: field or column with the texts (default: text)."),
    border: str | None = typer.Option(None, help="Shards: a document ends at each line, at blank lines, or N lines."),
    language: str | None = typer.Option(None, help="Shards: language of the corpus; any = not checked (ru)."),
    drop_other_languages: bool = typer.Option(False, help="Shards: check the language of each document."),
    duplicates: str | None = typer.Option(None, help="Shards: keep, exact (default) or near."),
    held_out_share: float | None = typer.Option(None, help="Shards: share of documents set aside (0.02)."),
    json_file: Path | None = typer.Option(None, "--json", help="Write the counts to this file."),
) -> None:
    """Convert annotations without moving a character, or tokenise corpora once into memory-mapped shards.

    What a format cannot hold, and what is filtered out of a corpus, is counted and shown.

    Examples:

        slonik data convert seccoll --to conll --scheme BIOES --mapping recipes/ner_seccoll.yaml --out conll

        slonik data convert ru.txt.gz --tokenizer my-tokenizer --duplicates near --out shards
    """
    if to == "shards" or (to is None and tokenizer is not None):
        from slonik.cli.data_corpora import convert_corpus

        options = {
            "tokenizer": tokenizer, "column": column, "border": border, "language": language,
            "drop_other_languages": drop_other_languages, "duplicates": duplicates, "held_out_share": held_out_share,
        }  # fmt: skip
        convert_corpus(source, out, options, json_file)
    else:
        _convert_annotations(source, to, out, kind, mapping, scheme, overlaps, parquet, json_file)


def _convert_annotations(
    source: list[str],
    to: str | None,
    out: Path,
    kind: str | None,
    mapping: Path | None,
    scheme: str,
    overlaps: str | None,
    parquet: bool,
    json_file: Path | None,
) -> None:
    """One annotated file or folder to another format."""
    from slonik.core.errors import SlonikError, unknown_name
    from slonik.core.files import new_folder, write_json
    from slonik.data.annotations.document import POLICIES, Counts, read_mapping
    from slonik.data.annotations.formats import FORMATS, read_documents, write_documents
    from slonik.data.annotations.tags import SCHEMES

    if to is None:
        raise SlonikError("say what to make: --to brat, conll, jsonl or hf for annotations, --tokenizer for a corpus")
    if len(source) != 1:
        raise SlonikError(f"{len(source)} inputs were given; annotations are converted one file or folder at a time")
    if to not in FORMATS:
        raise SlonikError(unknown_name(to, FORMATS, "--to format"))
    if scheme.upper() not in SCHEMES:
        raise SlonikError(f"--scheme is {scheme!r}: use {' or '.join(SCHEMES)}")
    if overlaps is not None and overlaps not in POLICIES:
        raise SlonikError(f"--overlaps is {overlaps!r}: use {', '.join(POLICIES)}")
    labels = read_mapping(mapping)
    counts = Counts()
    documents = labels.apply(read_documents(Path(source[0]), counts, kind=kind), counts)
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
