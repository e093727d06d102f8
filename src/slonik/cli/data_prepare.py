"""`slonik data prepare`: corpora of any size to shards of tokens, by many workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import Overrides, announce, file_to_write
from slonik.cli.numbers import AMOUNT, COUNT, PART, number

if TYPE_CHECKING:
    from slonik.pretraining.preparation.prepare import Prepared


def prepare(
    source: list[str] = typer.Argument(
        metavar="SOURCE...", help="Files, folders, URLs (s3://, hf://datasets/OWNER/NAME/...), hub:OWNER/NAME."
    ),
    out: str = typer.Option(..., help="Folder to make, or a URL."),
    tokenizer: str | None = typer.Option(
        None, help="Folder, checkpoint, hub id or embedded:NAME; without it documents are written, as Parquet."
    ),
    engine: str = typer.Option("local", help="local (processes of this machine), ray, or slurm."),
    workers: int | None = typer.Option(None, help="Tasks at once (default: one per processor).", **COUNT),
    column: str | None = typer.Option(None, help="Field or column with the texts (default: text)."),
    border: str | None = typer.Option(None, help="In plain text a document ends at each line, at blank, or N lines."),
    language: str | None = typer.Option(None, help="Language of the corpus; any = not checked (ru)."),
    drop_other_languages: bool = typer.Option(
        False, "--drop-other-languages", help="Check the language of each document."
    ),
    duplicates: str | None = typer.Option(None, help="keep, exact (default) or near."),
    near_threshold: float | None = typer.Option(
        None, help="Jaccard similarity of near duplicates (0.8).", **number(above=0, below=1)
    ),
    held_out_share: float | None = typer.Option(None, help="Share of documents set aside (0.02).", **PART),
    keep_whitespace: bool = typer.Option(
        False, "--keep-whitespace", help="Keep indentation, runs of spaces and blank lines."
    ),
    overrides: Overrides = [],  # noqa: B006
    work: str | None = typer.Option(
        None, help="Folder or URL for what is being made, which all workers reach (default: OUT.steps)."
    ),
    part_megabytes: float = typer.Option(128, help="Text that one task reads.", **AMOUNT),
    queue: str | None = typer.Option(None, help="Slurm: partition."),
    time: str | None = typer.Option(None, help="Slurm: time limit of a task, HH:MM:SS (24:00:00)."),
    memory: int | None = typer.Option(None, help="Slurm: GB of a task (the cluster's default).", **COUNT),
    json_file: Path | None = typer.Option(
        None, "--json", help="Write the counts to this file.", callback=file_to_write
    ),
) -> None:
    """Clean corpora, leave out duplicates across all of them, set a part aside, and tokenise the rest into shards.

    The result is the same, bit for bit, on any engine and with any number of workers. The same command goes on where
    it was interrupted.

    Examples:

        slonik data prepare texts/ --tokenizer my-tokenizer --duplicates near --workers 16 --out shards

        slonik data prepare s3://corpus/ru --drop-other-languages --engine slurm --queue cpu --out documents
    """
    from slonik.core.files import write_json
    from slonik.pretraining.preparation.prepare import prepare as run
    from slonik.scaling.engines.needs import Needs

    found = run(
        source, out, tokenizer=tokenizer, engine=engine, workers=workers, column=column,
        border=int(border) if border and border.isdecimal() else border, language=language,
        drop_other_languages=drop_other_languages or None, duplicates=duplicates, near_threshold=near_threshold,
        held_out_share=held_out_share, keep_whitespace=keep_whitespace or None, set=overrides, work=work,
        part_bytes=int(part_megabytes * (1 << 20)), needs=Needs(queue, time, memory), progress=True, announce=announce,
    )  # fmt: skip
    _tell(found)
    if json_file is not None:
        write_json(json_file, {"summary": found.summary, "examples": found.examples, "seconds": found.block_seconds})


def _tell(found: Prepared) -> None:
    """Counts, and of what was left out an example each."""
    for name, count in found.summary.items():
        example = found.examples.get(name.removeprefix("dropped_"))
        typer.echo(f"{name.replace('_', ' '):>24} {count:,}" + (f"   {example}" if example else ""))
    tokens = f", {found.tokens:,} tokens" if found.tokens else ""
    typer.echo(f"{found.documents:,} documents{tokens} -> {found.folder}")
