"""`slonik tag MODEL`: texts in, spans with offsets and confidence out, any number in constant memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import ConvertWeights, Device, TrustRemoteCode, first_few
from slonik.cli.folders import Column, Engine, Workers, are_parts, folder_out, shown, tell_parts
from slonik.cli.numbers import COUNT, number

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
    to: str = typer.Option(
        "jsonl", help="jsonl (spans) or brat (.txt and .ann, needs --out); of --suggest also label-studio."
    ),
    kind: str | None = typer.Option(None, "--from", help="text, jsonl or brat (default: by name, or first line)."),
    min_confidence: float | None = typer.Option(
        None,
        help="Leave out spans that the tagger is less sure of, 0 to 1 (what is sure: docs/ner.md, calibration).",
        **number(least=0, most=1),
    ),
    normal_forms: bool = typer.Option(False, "--normal-forms", help="Spans have the name in the nominative: `normal`."),
    type_: list[str] = typer.Option(
        [], "--type", help="LABEL=DESCRIPTION of a type that it was not trained on; of a tagger with a span head."
    ),
    suggest: int | None = typer.Option(
        None,
        help="Write the N texts that the tagger is least sure of, to annotate next (--to label-studio too).",
        **COUNT,
    ),
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

        slonik tag my-nested news.txt --type SHIP='название корабля' --out spans.jsonl

        slonik tag my-tagger news.txt --suggest 100 --to label-studio --out next.json
    """
    if kind is None and are_parts(files or [], {"column": column, "engine": engine, "workers": workers}):
        from slonik.tagging.folders import tag_folder

        tell_parts(
            tag_folder(
                model, files or [],
                folder_out(out, {"to": None if to == "jsonl" else to, "suggest": suggest, "type": type_ or None}),
                column=column or "text", min_confidence=min_confidence, normal_forms=normal_forms,
                device=device, trust_remote_code=trust_remote_code, engine=engine or "local", workers=workers,
                **shown(),
            )
        )  # fmt: skip
        return
    if suggest is not None:
        _suggest(
            model, files or [], out, to=to, count=suggest, kind=kind, device=device, trust=trust_remote_code,
            idle={
                "--min-confidence": min_confidence is not None, "--normal-forms": normal_forms, "--type": bool(type_),
            },
        )  # fmt: skip
        return
    from slonik.tagging.tag import tag_files

    report = first_few(lambda sentence: f"{sentence}: kept as an empty text")
    summary = tag_files(
        model, files or [], out, to=to, kind=kind, device=device, trust_remote_code=trust_remote_code, on_bad=report,
        min_confidence=min_confidence, normal_forms=normal_forms, types=_described(type_),
    )  # fmt: skip
    _tell(summary, out)


def _described(types: list[str]) -> dict[str, str]:
    """LABEL=DESCRIPTION, several times."""
    from slonik.core.errors import SlonikError

    found = {}
    for one in types:
        label, equals, description = one.partition("=")
        if not (label.strip() and equals and description.strip()):
            raise SlonikError(f"--type {one}: give LABEL=DESCRIPTION, for example SHIP='название корабля'")
        found[label.strip()] = description.strip()
    return found


def _suggest(
    model: str, files: list[Path], out: Path | None, *, to: str, count: int, kind: str | None, device: str | None,
    trust: bool, idle: dict[str, bool],
) -> None:  # fmt: skip
    """The call with --suggest."""
    from slonik.core.errors import SlonikError
    from slonik.tagging.suggest import suggest

    if found := [name for name, given in idle.items() if given]:
        raise SlonikError(f"{', '.join(found)} cannot be used with --suggest: what is unsure is what it looks for")
    report = first_few(lambda sentence: f"{sentence}: left out")
    told = suggest(
        model, files, out, count=count, to=to, kind=kind, device=device, trust_remote_code=trust, on_bad=report
    )
    for words, times in told.left_out.items():
        sys.stderr.write(f"  {times:,} {words}\n")
    sys.stderr.write(f"{len(told.texts):,} of {told.read:,} texts suggested" + (f" -> {out}\n" if out else "\n"))


def _tell(summary: TagSummary, out: Path | None) -> None:
    """One line at the end, and one per thing that the written format could not keep."""
    for words, count in summary.moved.items():
        sys.stderr.write(f"  {count:,} {words}\n")
    kinds = ", ".join(f"{label} {count:,}" for label, count in summary.labels.most_common())
    text = f"{summary.texts:,} texts, {summary.labels.total():,} spans" + (f" ({kinds})" if kinds else "")
    text += f"; {summary.unsure:,} less sure spans left out" if summary.unsure else ""
    text += f"; {summary.empty:,} empty" if summary.empty else ""
    text += f"; {summary.bad:,} bad lines kept as empty texts" if summary.bad else ""
    sys.stderr.write(text + (f" -> {out}\n" if out else "\n"))
