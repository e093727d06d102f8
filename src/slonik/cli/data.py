"""`slonik data`: annotated texts from one format to another; corpora to shards of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slonik.cli.common import JsonFile, file_to_write, print_scores, save_records
from slonik.cli.data_prepare import prepare
from slonik.cli.data_probing import probing
from slonik.cli.numbers import PART, SEED

if TYPE_CHECKING:
    from collections import Counter


def register(app: typer.Typer) -> None:
    """Add the `data` group."""
    group = typer.Typer(no_args_is_help=True, help="Prepare texts and annotations.")
    group.command("convert")(convert_data)
    group.command("prepare")(prepare)
    group.command("probing")(probing)
    group.command("agreement")(agreement)
    app.add_typer(group, name="data")


def convert_data(
    source: list[str] = typer.Argument(
        metavar="IN...",
        help="Annotations: a file or folder (BRAT, CoNLL, JSON, Parquet, DocBin). Corpora: files, hub:NAME.",
    ),
    to: str | None = typer.Option(
        None,
        help="brat, conll, jsonl (spans), hf (tokens and ner_tags), label-studio; shards (default with --tokenizer).",
    ),
    out: Path = typer.Option(..., help="Folder to make."),
    kind: str | None = typer.Option(
        None,
        "--from",
        help="Format of IN: brat, conll, jsonl, hf, label-studio, doccano, prodigy, spacy (default: guess).",
    ),
    mapping: Path | None = typer.Option(None, help="Recipe whose `mapping` merges and drops labels."),
    scheme: str | None = typer.Option(None, help="Tags of conll and hf: BIO (default) or BIOES."),
    overlaps: str | None = typer.Option(
        None, help="Who stays where spans overlap and tags cannot: longest (default), shortest, first."
    ),
    parquet: bool = typer.Option(False, help="hf as Parquet instead of JSONL."),
    tokenizer: str | None = typer.Option(None, help="Shards: tokenizer folder, checkpoint, hub id or embedded:NAME."),
    column: str | None = typer.Option(None, help="Shards: field or column with the texts (default: text)."),
    border: str | None = typer.Option(None, help="Shards: a document ends at each line, at blank lines, or N lines."),
    language: str | None = typer.Option(None, help="Shards: language of the corpus; any = not checked (ru)."),
    drop_other_languages: bool = typer.Option(
        False, "--drop-other-languages", help="Shards: check the language of each document."
    ),
    duplicates: str | None = typer.Option(None, help="Shards: keep, exact (default) or near."),
    held_out_share: float | None = typer.Option(None, help="Shards: share of documents set aside (0.02).", **PART),
    json_file: Path | None = typer.Option(
        None, "--json", help="Write the counts to this file.", callback=file_to_write
    ),
) -> None:
    """Convert annotations without moving a character, or tokenise corpora once into memory-mapped shards.

    What a format cannot hold, and what is filtered out of a corpus, is counted and shown.

    Examples:

        slonik data convert seccoll --to conll --scheme BIOES --mapping recipes/ner_seccoll.yaml --out conll

        slonik data convert ru.txt.gz --tokenizer my-tokenizer --duplicates near --out shards
    """
    from slonik.core.errors import SlonikError

    options = {
        "column": column, "border": border, "language": language, "drop_other_languages": drop_other_languages,
        "duplicates": duplicates, "held_out_share": held_out_share,
    }  # fmt: skip
    if to == "shards" or (to is None and tokenizer is not None):
        _refuse(
            {"from": kind, "mapping": mapping, "scheme": scheme, "overlaps": overlaps, "parquet": parquet}, "shards"
        )
        _convert_corpus(source, out, tokenizer, options, json_file)
        return
    _refuse({"tokenizer": tokenizer, **options}, "annotations")
    from slonik.core.files import write_json
    from slonik.data.annotations.document import read_mapping
    from slonik.data.annotations.formats import convert

    if to is None:
        raise SlonikError("say what to make: --to brat, conll, jsonl or hf for annotations, --tokenizer for a corpus")
    if len(source) != 1:
        raise SlonikError(f"{len(source)} inputs were given; annotations are converted one file or folder at a time")
    written, counts = convert(
        source[0], out, to, kind=kind, mapping=read_mapping(mapping), scheme=scheme, overlaps=overlaps, parquet=parquet
    )
    typer.echo(f"{written:,} documents -> {out}")
    tell_counts(counts)
    if json_file is not None:
        write_json(json_file, {"documents": written, "counts": dict(counts)})


def agreement(
    first: Path = typer.Argument(help="Annotations of one annotator: a file or folder, as `data convert` reads them."),
    second: Path = typer.Argument(help="Annotations of the same texts by another (or what a tagger says of them)."),
    kind: str | None = typer.Option(None, "--from", help="Format of both (default: guess each)."),
    mapping: Path | None = typer.Option(None, help="Recipe whose `mapping` merges and drops labels on both sides."),
    seed: int = typer.Option(0, help="Seed of the bootstrap.", **SEED),
    json_file: JsonFile = None,
) -> None:
    """How far two annotations of the same texts agree: F1 of spans and kappa of words, per label, with intervals.

    Example: slonik data agreement anna/ boris/ --mapping recipes/ner_seccoll.yaml
    """
    from slonik.tagging.agreement import agreement as agree

    found = agree(first, second, data_format=kind, mapping=mapping, seed=seed)
    tell_counts(found.left_out)
    print_scores(found.tables, found.records)
    save_records(json_file, list(found.records))


def _refuse(options: dict[str, Any], what: str) -> None:
    """Say which options that were given do nothing here."""
    from slonik.core.errors import SlonikError

    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value not in (None, False)]
    if given:
        raise SlonikError(f"{', '.join(given)} cannot be used for {what}: leave out what is not meant")


def _convert_corpus(
    sources: list[str], out: Path, tokenizer: str | None, options: dict[str, Any], json_file: Path | None
) -> None:
    """Tokenise a corpus into memory-mapped shards; show what was read, dropped and kept.

    Args:
        options: fields of `CorpusSettings`; None values are left out.
    """
    from slonik.core.config import read_config
    from slonik.core.errors import SlonikError
    from slonik.core.files import check_apart, write_json
    from slonik.models.kinds import resolve
    from slonik.models.loading import checkpoint_tokenizer
    from slonik.pretraining.corpus import CorpusSettings, prepare_corpus

    if tokenizer is None:
        raise SlonikError("shards are made of tokens: name the tokenizer or checkpoint by --tokenizer")
    border = options["border"]
    options["border"] = int(border) if border and border.isdecimal() else border
    settings = read_config(CorpusSettings, None, {"files": sources, **options})
    check_apart(out, [tokenizer])
    found = prepare_corpus(settings, checkpoint_tokenizer(resolve(tokenizer)), out)
    for name, count in found.summary.items():
        typer.echo(f"{name.replace('_', ' '):>24} {count:,}")
    typer.echo(f"{len(found.train):,} documents, {found.train.token_count:,} tokens -> {out}")
    if json_file is not None:
        figures = {"documents": len(found.train), "tokens": found.train.token_count}
        write_json(json_file, figures | {"summary": found.summary, "key": found.train.key})


def tell_counts(counts: Counter[str]) -> None:
    """Say on stderr what was left out or changed on the way."""
    for words, count in sorted(counts.items()):
        if count:
            typer.echo(f"  {count:,} {words}", err=True)
