"""`slonik tokenizer trim`: reads options, hands them on, shows the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from slonik.core.records import Record
    from slonik.tokenizers.trim import TrimReport

_TRIM_HELP = """Cut a model's vocabulary to the languages and words that you need: a smaller checkpoint, same vectors.

By default all Cyrillic pieces stay, all digits, punctuation and single characters, and the other pieces that the
corpus uses. Texts whose pieces all stay embed exactly as before; the report says how many of the held-out texts
(2 % of the corpus, set aside) are cut as before, how many more tokens the rest needs, and how much is unknown.

Examples:

    slonik tokenizer trim embedded:multilingual-e5-small --corpus ru.txt.gz --out e5-ru

    slonik tokenizer trim MODEL --corpus texts/ --scripts ru,en --min-count 2 --max-pieces 35000 --out small
"""


def register(app: typer.Typer) -> None:
    """Add the `tokenizer` group."""
    group = typer.Typer(no_args_is_help=True, help="Train tokenizers, trim vocabularies.")
    # With a single command typer would drop the group's level: the callback keeps `tokenizer trim` as it is.
    group.callback()(lambda: None)
    group.command("trim", help=_TRIM_HELP)(trim)
    app.add_typer(group, name="tokenizer")


def trim(
    model: str = typer.Argument(..., help="Folder, hub id or embedded:NAME."),
    corpus: list[str] = typer.Option(
        ..., help="Text files or folders that show which pieces are needed (.txt, .jsonl, .csv, .parquet, also .gz)."
    ),
    out: Path = typer.Option(..., help="Folder for the trimmed checkpoint."),
    scripts: str = typer.Option("ru,en", help="Languages; the script of the first stays whole.", metavar="LANG,..."),
    counts_only: bool = typer.Option(False, "--counts-only", help="Keep no script whole: everything by counts."),
    min_count: int = typer.Option(1, min=1, help="How often the corpus must use a piece of other scripts."),
    max_pieces: int | None = typer.Option(None, min=1, help="The most pieces that stay; the rarest go first."),
    keep: list[str] = typer.Option([], help="A text whose pieces must stay; may be repeated."),
    column: str | None = typer.Option(None, help="Field or column with the texts (default: text)."),
    held_out: int = typer.Option(2_000, min=1, help="The most texts to set aside for the report."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the folder --out if it is there."),
    json_file: Path | None = typer.Option(None, "--json", help="Write result records to this file.", metavar="FILE"),
) -> None:
    from slonik.core.config import read_config
    from slonik.core.records import write_records
    from slonik.recipes.trim_checkpoint import TrimCheckpointConfig, trim_checkpoint

    rules: dict[str, Any] = {"scripts": _names(scripts), "always_keep": keep}
    rules["mode"] = "counts" if counts_only else "scripts"
    rules |= {"min_count": min_count, "max_pieces": max_pieces}
    values: dict[str, Any] = {"model": model, "corpus": corpus, "out": str(out), "rules": rules}
    values |= {"column": column, "held_out": held_out, "overwrite": overwrite}
    plan, records = trim_checkpoint(read_config(TrimCheckpointConfig, None, values))
    _print_report(plan.report, records, out)
    if json_file is not None:
        write_records(json_file, records)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _print_report(report: TrimReport, records: list[Record], out: Path) -> None:
    """Three short tables: sizes, pieces by script, held-out texts."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    values = {record.metric: record.value or 0 for record in records}
    share = values["parameters"] / values["parameters_before"]
    console.print(
        f"{report.kind} vocabulary: {report.pieces_before:,} -> {report.pieces_after:,} pieces; "
        f"parameters {values['parameters_before']:,.0f} -> {values['parameters']:,.0f} ({share:.1%})",
        highlight=False,
    )
    pieces = Table("script", "pieces before", "after", title="Pieces by script")
    for script, count in report.scripts.items():
        if count.after:
            pieces.add_row(script, f"{count.before:,}", f"{count.after:,}")
    console.print(pieces)
    if report.held_out:
        texts = Table("texts", "number", "cut as before", "tokens", "unknown before", "after", title="Held-out texts")
        for script, cut in report.held_out.items():
            unknown = f"{cut.unknown_rate_before:.4%}", f"{cut.unknown_rate_after:.4%}"
            texts.add_row(script, f"{cut.texts:,}", f"{cut.identical_share:.1%}", f"{cut.token_growth:+.2%}", *unknown)
        console.print(texts)
    else:
        console.print("The corpus is too small to set texts aside: how others would be cut was not measured.")
    console.print(f"written to {out}; look at it with: slonik show {out}", highlight=False)
