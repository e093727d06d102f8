"""`slonik tokenizer train` and `slonik tokenizer trim`: read options, hand them on, show the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slonik.cli.common import JsonFile, announce, print_tables, save_records, split_names
from slonik.cli.numbers import COUNT, whole

if TYPE_CHECKING:
    from slonik.core.records import Record
    from slonik.text.tokenizers.fit import Fit
    from slonik.text.tokenizers.trim import TrimReport


def register(app: typer.Typer) -> None:
    """Add the `tokenizer` group."""
    group = typer.Typer(no_args_is_help=True, help="Train tokenizers, trim vocabularies.")
    group.command("train")(train)
    group.command("trim")(trim)
    app.add_typer(group, name="tokenizer")


def train(
    files: list[str] = typer.Argument(..., help="Text files or folders (.txt, .jsonl, .csv, .parquet, also .gz)."),
    kind: str = typer.Option(..., help="wordpiece, bpe (byte-level) or unigram."),
    vocab_size: int = typer.Option(30_000, help="Tokens in all, special tokens included.", **whole(10)),
    out: Path = typer.Option(..., help="Folder for the tokenizer."),
    min_frequency: int | None = typer.Option(
        None, help="How often a pair must occur to be merged (default: grows with the corpus, at least 2).", **COUNT
    ),
    lowercase: bool = typer.Option(False, "--lowercase", help="Forget letter case."),
    family: str | None = typer.Option(None, help="Model family whose special tokens to use (bert, roberta, t5, ...)."),
    sentinels: int | None = typer.Option(None, help="Sentinels of T5 families (100).", **COUNT),
    special: list[str] = typer.Option([], help="A further special token; may be repeated."),
    max_length: int = typer.Option(512, help="Tokens of the longest text, written down for clients.", **COUNT),
    column: str | None = typer.Option(None, help="Field or column with the texts (default: text)."),
    measure: list[str] = typer.Option([], metavar="KIND=FILE", help="Measure on this kind of text; may be repeated."),
    against: list[str] = typer.Option([], metavar="MODEL", help="Measure this tokenizer too; may be repeated."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the folder --out if it is there."),
    json_file: JsonFile = None,
) -> None:
    """Train a tokenizer on text files and write it as a folder that AutoTokenizer loads.

    WordPiece is trained by its real score, freq(ab) / (freq(a) freq(b)), among pairs that occur at least
    --min-frequency times; byte-level BPE and Unigram as usual. Fertility (tokens per word) and the unknown rate are
    measured on 2 % of the corpus, set aside, and on the kinds of text that --measure names, beside other tokenizers.

    Examples:

        slonik tokenizer train ru.txt.gz --kind wordpiece --vocab-size 30000 --out my-tokenizer

        slonik tokenizer train ru.txt.gz --kind bpe --family fred-t5 --sentinels 128 --out bpe --measure chats=chats.txt
    """
    from slonik.core.config import read_config
    from slonik.pretraining.tokenizer import TokenizerRecipe, train_tokenizer

    training: dict[str, Any] = {"kind": kind, "vocab_size": vocab_size, "min_frequency": min_frequency}
    training |= {"lowercase": lowercase, "family": family, "sentinels": sentinels, "extra_specials": special}
    values: dict[str, Any] = {"corpus": files, "out": str(out), "training": training, "max_length": max_length}
    values |= {"column": column, "measure": _named(measure), "against": against, "overwrite": overwrite}
    recipe = read_config(TokenizerRecipe, None, values)
    trained, fits, records = train_tokenizer(recipe, log=announce)
    _print_fits(fits)
    typer.echo(f"{trained.tokenizer.get_vocab_size():,} tokens written to {out}")
    save_records(json_file, records)


def trim(
    model: str = typer.Argument(..., help="Folder, hub id or embedded:NAME."),
    corpus: list[str] = typer.Option(
        ..., help="Text files or folders that show which tokens are needed (.txt, .jsonl, .csv, .parquet, also .gz)."
    ),
    out: Path = typer.Option(..., help="Folder for the trimmed checkpoint."),
    scripts: str = typer.Option("ru,en", help="Languages; the script of the first stays whole.", metavar="LANG,..."),
    counts_only: bool = typer.Option(False, "--counts-only", help="Keep no script whole: everything by counts."),
    min_count: int = typer.Option(1, help="How often the corpus must use a token of other scripts.", **COUNT),
    max_pieces: int | None = typer.Option(None, help="The most tokens that stay; the rarest go first.", **COUNT),
    keep: list[str] = typer.Option([], help="A text whose tokens must stay; may be repeated."),
    column: str | None = typer.Option(None, help="Field or column with the texts (default: text)."),
    held_out: int = typer.Option(2_000, help="The most texts to set aside for the report.", **COUNT),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the folder --out if it is there."),
    json_file: JsonFile = None,
) -> None:
    """Cut a model's vocabulary to the languages and words that you need: a smaller checkpoint, same vectors.

    A classifier, a tagger or a masked-language model keeps its head.

    By default all Cyrillic tokens stay, all digits, punctuation and single characters, and the other tokens that the
    corpus uses. Texts whose tokens all stay embed exactly as before; the report says how many of the held-out texts
    (2 % of the corpus, set aside) are cut as before, how many more tokens the rest needs, and how much is unknown.

    Examples:

        slonik tokenizer trim embedded:multilingual-e5-small --corpus ru.txt.gz --out e5-ru

        slonik tokenizer trim MODEL --corpus texts/ --scripts ru,en --min-count 2 --max-pieces 35000 --out small
    """
    from slonik.compression.trim import TrimCheckpointConfig, trim_checkpoint
    from slonik.core.config import read_config

    rules: dict[str, Any] = {"scripts": split_names(scripts) or [], "always_keep": keep}
    rules["mode"] = "counts" if counts_only else "scripts"
    rules |= {"min_count": min_count, "max_pieces": max_pieces}
    values: dict[str, Any] = {"model": model, "corpus": corpus, "out": str(out), "rules": rules}
    values |= {"column": column, "held_out": held_out, "overwrite": overwrite}
    plan, records = trim_checkpoint(read_config(TrimCheckpointConfig, None, values), announce)
    _print_report(plan.report, records, out)
    save_records(json_file, records)


def _named(items: list[str]) -> dict[str, str]:
    """`KIND=FILE` items as a mapping."""
    from slonik.core.errors import SlonikError

    pairs = [item.partition("=") for item in items]
    for item, (name, _, value) in zip(items, pairs, strict=True):
        if not name or not value:
            raise SlonikError(f"--measure {item!r} is not of the form KIND=FILE")
    return {name: value for name, _, value in pairs}


def _print_fits(fits: dict[str, dict[str, Fit]]) -> None:
    """One table of tokenizers by kinds of text."""
    from slonik.reporting.table import Table

    if not any(fits.values()):
        typer.echo("The corpus is too small to set texts aside: nothing was measured (name texts by --measure).")
        return
    lines = [
        (name, kind, f"{fit.texts:,}", f"{fit.fertility:.3f}", f"{fit.bytes_per_token:.2f}", f"{fit.unknown_rate:.4%}")
        for name, by_kind in fits.items()
        for kind, fit in by_kind.items()
    ]
    columns = ("tokenizer", "texts", "number", "tokens per word", "bytes per token", "unknown")
    print_tables([Table.of("Tokens by kind of text", columns, lines)])


def _print_report(report: TrimReport, records: list[Record], out: Path) -> None:
    """Sizes, tokens by script, held-out texts."""
    from slonik.reporting.table import Table

    values = {record.metric: record.value or 0 for record in records}
    share = values["parameters"] / values["parameters_before"]
    typer.echo(
        f"{report.kind} vocabulary: {report.pieces_before:,} -> {report.pieces_after:,} tokens; "
        f"parameters {values['parameters_before']:,.0f} -> {values['parameters']:,.0f} ({share:.1%})"
    )
    lines = [(name, f"{count.before:,}", f"{count.after:,}") for name, count in report.scripts.items() if count.after]
    print_tables([Table.of("Tokens by script", ("script", "tokens before", "after"), lines)])
    if report.held_out:
        held_out = [
            (
                script, f"{cut.texts:,}", f"{cut.identical_share:.1%}", f"{cut.token_growth:+.2%}",
                f"{cut.unknown_rate_before:.4%}", f"{cut.unknown_rate_after:.4%}",
            )
            for script, cut in report.held_out.items()
        ]  # fmt: skip
        columns = ("texts", "number", "cut as before", "tokens", "unknown before", "after")
        print_tables([Table.of("Held-out texts", columns, held_out)])
    else:
        typer.echo("The corpus is too small to set texts aside: how others would be cut was not measured.")
    typer.echo(f"written to {out}; look at it with: slonik show {out}")
