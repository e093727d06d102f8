"""`slonik tag MODEL`: texts in, spans with offsets and confidence out, any number in constant memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import ConvertWeights, Device, TrustRemoteCode, first_few
from slonik.cli.folders import Column, Engine, Workers, are_parts, folder_out, shown, tell_parts

if TYPE_CHECKING:
    from slonik.tagging.tag import TagSummary


def tag(
    model: str = typer.Argument(help="Folder of a trained tagger, or hub id of a task model."),
    files: list[Path] | None = typer.Argument(
        None, help="Text files (a text a line), .jsonl (field text; .gz too), folders (BRAT, or Parquet and JSONL)."
    ),
    out: Path | None = typer.Option(
        None, help="Output file (JSONL), or folder (--to brat, and of folders); default: stdout."
    ),
    to: str = typer.Option("jsonl", help="jsonl (spans) or brat (.txt and .ann, needs --out)."),
    kind: str | None = typer.Option(None, "--from", help="text, jsonl or brat (default: by name, or first line)."),
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
    convert_weights: ConvertWeights = False,
    column: Column = None,
    engine: Engine = None,
    workers: Workers = None,
) -> None:
    """Find entities in texts; one JSON object per text, in order: id, text, spans with start, end, label, confidence.

    Of folders of Parquet and JSON Lines every part is written again, with a column `spans`; parts that are done are
    skipped.

    Examples:

        slonik tag my-tagger news.txt --out spans.jsonl

        slonik tag my-tagger news/ --column body --out spans/
    """
    if kind is None and are_parts(files or [], {"column": column, "engine": engine, "workers": workers}):
        from slonik.tagging.folders import tag_folder

        tell_parts(
            tag_folder(
                model, files or [], folder_out(out, {"to": None if to == "jsonl" else to}), column=column or "text",
                device=device, trust_remote_code=trust_remote_code, engine=engine or "local", workers=workers,
                **shown(),
            )
        )  # fmt: skip
        return
    from slonik.tagging.tag import tag_files

    report = first_few(lambda sentence: f"{sentence}: kept as an empty text")
    summary = tag_files(
        model, files or [], out, to=to, kind=kind, device=device, trust_remote_code=trust_remote_code, on_bad=report
    )
    _tell(summary, out)


def _tell(summary: TagSummary, out: Path | None) -> None:
    """One line at the end, and one per thing that the written format could not keep."""
    for words, count in summary.moved.items():
        sys.stderr.write(f"  {count:,} {words}\n")
    kinds = ", ".join(f"{label} {count:,}" for label, count in summary.labels.most_common())
    text = f"{summary.texts:,} texts, {summary.labels.total():,} spans" + (f" ({kinds})" if kinds else "")
    text += f"; {summary.empty:,} empty" if summary.empty else ""
    text += f"; {summary.bad:,} bad lines kept as empty texts" if summary.bad else ""
    sys.stderr.write(text + (f" -> {out}\n" if out else "\n"))
