"""`slonik export CHECKPOINT`: ONNX files that run without torch, measured against it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import JsonFile, print_tables, save_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from slonik.core.records import Record
    from slonik.exporting import ExportReport
    from slonik.reporting.table import Table


def register(app: typer.Typer) -> None:
    """Add `slonik export`."""
    app.command("export")(export)


def export(
    checkpoint: str = typer.Argument(help="Folder, hub id, or embedded:NAME."),
    out: Path = typer.Option(..., help="Folder to write; it appears whole or not at all."),
    int8: str = typer.Option("dynamic", help="dynamic, static (calibrated) or none."),
    fp16: bool = typer.Option(False, "--fp16", help="Write onnx/model_fp16.onnx too."),
    docker: bool = typer.Option(False, "--docker", help="Write a Dockerfile that serves the folder."),
    corpus: Path | None = typer.Option(None, help="Calibration texts, one per line (default: our own Russian ones)."),
    data_dir: Path | None = typer.Option(None, help="Hold the files to fp32 on encodechka too (minutes)."),
    measure: bool = typer.Option(True, help="Time torch and the files side by side."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the folder if it is there."),
    json_file: JsonFile = None,
) -> None:
    """Export to ONNX: fp32 and int8, held to what torch gives; nothing is called faster before it was measured."""
    from slonik.core.errors import SlonikError
    from slonik.exporting import export as run

    if int8 not in ("dynamic", "static", "none"):
        raise SlonikError(f"--int8 is {int8!r}: use dynamic, static or none")
    report = run(
        checkpoint,
        out,
        int8=int8,  # type: ignore[arg-type]
        fp16=fp16,
        docker=docker,
        corpus=_texts(corpus) if corpus is not None else None,
        measure_speed=measure,
        judge=_judge(data_dir),
        overwrite=overwrite,
    )
    _show(report, docker=docker)
    save_records(json_file, report.records(checkpoint))


_MOST_CALIBRATION_TEXTS = 256


def _judge(data_dir: Path | None) -> Callable[[Path], list[Record]] | None:
    from slonik.core.paths import data_dir as data_folder

    if data_dir is None:
        return None
    from slonik.evaluation.encodechka.comparison import export_judge

    return export_judge(data_folder(data_dir))


def _texts(path: Path) -> list[str]:
    """The first texts of a corpus file."""
    from itertools import islice

    from slonik.data.readers import read_texts

    return list(islice(read_texts(path), _MOST_CALIBRATION_TEXTS))


def _show(report: ExportReport, *, docker: bool = False) -> None:
    print_tables([_table(report)])
    for sentence in report.speed_sentences():
        typer.echo(sentence)
    if report.speed:
        typer.echo(f"(one text at a time, one thread, {report.speed.texts} texts)")
    for record in report.judged:
        if record.metric == "difference" and record.task == "mean_s5":
            typer.echo(
                f"encodechka {record.task} ({record.variant}), {record.model}: {record.value:+.4f} "
                f"[{record.low:+.4f}, {record.high:+.4f}]"
            )
    for sentence in report.limits:
        typer.echo(sentence)
    if docker:
        typer.echo(f"serve it in a container: the first lines of {report.folder / 'Dockerfile'} say how")
    typer.echo(f"use it: slonik.load({str(report.folder)!r}).encode([...])")


def _table(report: ExportReport) -> Table:
    from slonik.reporting.table import Cell, Content, Table

    def speed(name: str) -> Content:
        if report.speed is None or name not in report.speed.by_round:
            return ""
        low, high = report.speed.spread(name)
        return Cell(f"{report.speed.milliseconds[name]:.2f}", f"[{low:.2f}, {high:.2f}]")

    lines: list[tuple[Content, ...]] = [("torch", "", "", speed("torch"))] if speed("torch") else []
    for name, size in report.sizes.items():
        agreed = report.agreement.get(name)
        parity = (
            f"cosine to fp32: mean {agreed.mean_cosine:.5f}, lowest {agreed.min_cosine:.5f} ({agreed.texts} texts)"
            if agreed
            else f"largest difference to torch {report.difference.largest:.1e}"
        )
        lines.append((name, f"{size / 1e6:.1f}", parity, speed(name)))
    return Table.of(f"exported to {report.folder}", ("file", "MB", "agreement", "ms per text"), lines)
