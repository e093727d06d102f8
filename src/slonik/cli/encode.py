"""`slonik encode MODEL`: lines of text in, vectors out, any size in constant memory."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

if TYPE_CHECKING:
    from slonik.core.protocols import Encoder
    from slonik.runtime.lines import Line
    from slonik.runtime.stream import Summary
    from slonik.runtime.writers import Writer

_SHOWN = 20  # bad lines named one by one; the rest are counted


def register(app: typer.Typer) -> None:
    """Add `slonik encode`."""
    app.command("encode")(encode)


def encode(
    model: str = typer.Argument(help="Folder (exported or checkpoint), hub id, embedded:NAME, or a baseline's name."),
    files: list[Path] | None = typer.Argument(None, help="Text files, one text per line (.gz too); stdin if none."),
    out: Path | None = typer.Option(None, help="Output file: .npy, .parquet or .jsonl; JSONL on stdout if not given."),
    kind: str | None = typer.Option(None, "--format", help="npy, parquet or jsonl (default: by the file's name)."),
    prefix: str | None = typer.Option(None, help="Text put before every line (default: the model's own)."),
    bad_lines: str = typer.Option(
        "zero", help="For lines that are empty, not UTF-8 or 1 MB long: zero (row of zeros), skip (no row), stop."
    ),
    file: str | None = typer.Option(None, help="ONNX file of an exported folder, for example model.onnx."),
    threads: int | None = typer.Option(None, help="Threads (default: all processors)."),
) -> None:
    """Encode lines of text; the order is kept, and bad lines are reported by number on stderr."""
    from slonik.core.errors import SlonikError
    from slonik.core.progress import progress_bar
    from slonik.runtime.lines import read_lines
    from slonik.runtime.stream import POLICIES, encode_stream

    if bad_lines not in POLICIES:
        raise SlonikError(f"--bad-lines is {bad_lines!r}: use {', '.join(POLICIES)}")
    encoder = _load(model, file, threads)
    inputs = list(files or [])
    total = sum(path.stat().st_size for path in inputs if path.is_file()) if inputs else None
    if any(path.suffix == ".gz" for path in inputs):
        total = None  # packed bytes say nothing about the text
    report = _BadLines()
    with _writer(out, kind, encoder.dimension) as writer, progress_bar("encoding", total=total) as bar:
        done = 0

        def show(chunk: list[Line]) -> None:
            nonlocal done
            done += len(chunk)
            bar.advance(sum(line.size for line in chunk), texts=f"{done:,}")

        lines = read_lines(_streams(inputs))
        summary = encode_stream(
            encoder, lines, writer, prefix=prefix, bad_lines=bad_lines, on_bad=report.meet, on_chunk=show  # type: ignore[arg-type]
        )  # fmt: skip
    _tell(summary, bad_lines, out)


class _BadLines:
    """Names the first bad lines on stderr as they come."""

    def __init__(self) -> None:
        self._count = 0

    def meet(self, line: Line) -> None:
        """Report one line."""
        self._count += 1
        if self._count <= _SHOWN:
            sys.stderr.write(f"line {line.number}: {line.error}\n")
        elif self._count == _SHOWN + 1:
            sys.stderr.write("more bad lines follow; they are counted at the end\n")


def _tell(summary: Summary, policy: str, out: Path | None) -> None:
    text = f"{summary.lines:,} lines, {summary.rows:,} vectors"
    if summary.bad_lines:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.bad.most_common())
        action = "written as zeros" if policy == "zero" else "left out"
        text += f"; {summary.bad_lines:,} bad lines {action} ({kinds})"
    sys.stderr.write(text + (f" -> {out}\n" if out else "\n"))


def _load(model: str, file: str | None, threads: int | None) -> Encoder:
    import slonik

    exported = (Path(model) / "onnx").is_dir()
    if not exported:
        _refuse_for_checkpoints(model, file=file, threads=threads)
    options: dict[str, Any] = {"file": file, "threads": threads} if exported else {}
    encoder = slonik.load(model, **{name: value for name, value in options.items() if value is not None})
    if hasattr(encoder, "long_texts"):
        encoder.long_texts = "windows"
    return encoder


def _refuse_for_checkpoints(model: str, **options: Any) -> None:
    from slonik.core.errors import SlonikError

    for name, value in options.items():
        if value is not None:
            raise SlonikError(
                f"--{name} is for exported folders, and {model} is none: leave it out, or slonik export it"
            )


def _streams(files: list[Path]) -> Iterator[BinaryIO]:
    from slonik.core.errors import SlonikError

    if not files:
        yield sys.stdin.buffer
    for path in files:
        if str(path) == "-":
            yield sys.stdin.buffer
            continue
        try:
            opener = gzip.open if path.suffix == ".gz" else open
            stream = opener(path, "rb")
        except OSError as error:
            raise SlonikError(f"cannot read {path}: {error.strerror or error}") from None
        with stream:
            yield stream  # type: ignore[misc]


@contextmanager
def _writer(out: Path | None, kind: str | None, dimension: int) -> Iterator[Writer]:
    from slonik.core.errors import SlonikError
    from slonik.runtime.writers import JsonlWriter, vector_file

    if out is not None:
        with vector_file(out, dimension, kind) as writer:
            yield writer
        return
    if kind not in (None, "jsonl"):
        raise SlonikError(f"--format {kind} needs --out FILE: only jsonl goes to stdout")
    stdout = JsonlWriter(sys.stdout)
    yield stdout
    stdout.close()
