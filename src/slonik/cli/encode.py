"""`slonik encode MODEL`: lines of text in, vectors out, any size in constant memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slonik.cli.common import ConvertWeights, LongTexts, Pooling, announce, first_few, given, warn
from slonik.cli.folders import Column, Engine, Workers, are_parts, folder_out, shown, tell_parts
from slonik.cli.numbers import COUNT

if TYPE_CHECKING:
    from slonik.core.protocols import Encoder
    from slonik.runtime.stream import Summary


def encode(
    model: str | None = typer.Argument(
        None,
        help="Folder (exported or checkpoint), hub id, embedded:NAME, or a baseline's name; if none, the encoder that "
        "ships.",
    ),
    files: list[Path] | None = typer.Argument(
        None, help="Text files, one text per line (.gz too), or folders of Parquet and JSON Lines; stdin if none."
    ),
    out: Path | None = typer.Option(
        None, help="Output file: .npy, .parquet or .jsonl (JSONL on stdout if not given); of folders a folder."
    ),
    kind: str | None = typer.Option(None, "--format", help="npy, parquet or jsonl (default: by the file's name)."),
    prefix: str | None = typer.Option(None, help="Text put before every line (default: the model's own)."),
    bad_lines: str = typer.Option(
        "zero", help="For lines that are empty, not UTF-8 or 16 MB long: zero (row of zeros), skip (no row), stop."
    ),
    file: str | None = typer.Option(None, help="ONNX file of an exported folder, for example model.onnx."),
    threads: int | None = typer.Option(None, help="Threads (default: all processors).", **COUNT),
    dimensions: int | None = typer.Option(
        None,
        help="Leading dimensions of each vector (default: all); made for models whose dimensions are ordered.",
        **COUNT,
    ),
    long_texts: LongTexts = None,
    pooling: Pooling = None,
    convert_weights: ConvertWeights = False,
    column: Column = None,
    engine: Engine = None,
    workers: Workers = None,
) -> None:
    """Encode lines of text; the order is kept, and bad lines are reported by number on stderr.

    Of folders of Parquet and JSON Lines every part is written again, with vectors in the column `embedding`; parts that
    are done are skipped.

    Without a model the encoder that ships is taken (a text file in its place is text).

    Examples:

        slonik encode --out vectors.npy < texts.txt

        slonik encode small-onnx texts.txt.gz --out vectors.parquet

        slonik encode small-onnx corpus/ --column body --out vectors/
    """
    from slonik.core.errors import SlonikError
    from slonik.models.distributions import default_name
    from slonik.runtime.stream import POLICIES, encode_files

    if bad_lines not in POLICIES:
        raise SlonikError(f"--bad-lines is {bad_lines!r}: use {', '.join(POLICIES)}")
    if model is not None and Path(model).is_file():
        files = [Path(model), *(files or [])]
        model = None
    if model is None:
        model = default_name()
        announce(f"encoding with {model}")
    if are_parts(files or [], {"column": column, "engine": engine, "workers": workers}):
        from slonik.library import encode_folder

        lines_only = {"format": kind, "bad-lines": None if bad_lines == "zero" else bad_lines}
        options = _options(model, file, threads, pooling, long_texts, dimensions)
        tell_parts(
            encode_folder(
                model, files or [], folder_out(out, lines_only), prefix=prefix, column=column or "text",
                engine=engine or "local", workers=workers, **shown(), **options,
            )
        )  # fmt: skip
        return
    report = first_few(lambda line: f"line {line.number}: {line.error}")
    encoder = _open(model, file, threads, pooling, long_texts, dimensions)
    summary = encode_files(
        encoder, files or [], out, kind=kind, prefix=prefix, bad_lines=bad_lines, on_bad=report
    )  # fmt: skip
    _tell(summary, bad_lines, out)
    if summary.cut:
        warn(
            f"{summary.cut:,} of {summary.lines:,} texts are longer than the {getattr(encoder, 'max_length', None)} "
            "tokens that the model reads, and were cut (--long-texts average reads all)"
        )


def _tell(summary: Summary, policy: str, out: Path | None) -> None:
    text = f"{summary.lines:,} lines, {summary.rows:,} vectors"
    if summary.bad_lines:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.bad.most_common())
        action = "written as zeros" if policy == "zero" else "left out"
        text += f"; {summary.bad_lines:,} bad lines {action} ({kinds})"
    sys.stderr.write(text + (f" -> {out}\n" if out else "\n"))


def _open(model: str, *options: Any) -> Encoder:
    from slonik.models.opening import open_encoder

    return open_encoder(model, **_options(model, *options))


def _options(
    model: str,
    file: str | None,
    threads: int | None,
    pooling: str | None,
    long_texts: str | None,
    dimensions: int | None,
) -> dict[str, Any]:
    """Those that were given."""
    from slonik.core.errors import SlonikError
    from slonik.models.kinds import is_exported

    options = given({"file": file, "threads": threads})
    if options and not is_exported(model):
        name = next(iter(options))
        raise SlonikError(f"--{name} is for exported folders, and {model} is none: leave it out, or slonik export it")
    return options | given({"pooling": pooling, "long_texts": long_texts, "dimensions": dimensions})
