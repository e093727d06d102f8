"""`slonik export CHECKPOINT`: ONNX files that run without torch, measured against it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from slonik.core.records import Record
    from slonik.exporting import ExportReport
    from slonik.exporting.report import Speed


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
    json_file: Path | None = typer.Option(None, "--json", help="Write result records to this file."),
) -> None:
    """Export to ONNX: fp32 and int8, held to what torch gives; nothing is called faster before it was measured."""
    from slonik.core.errors import SlonikError
    from slonik.core.records import write_records
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
    if json_file is not None:
        write_records(json_file, report.records(checkpoint))


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


def _milliseconds(speed: Speed, name: str) -> str:
    low, high = speed.spread(name)
    return f"{speed.milliseconds[name]:.2f} [{low:.2f}, {high:.2f}]"


def _show(report: ExportReport, *, docker: bool = False) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"exported to {report.folder}", title_justify="left")
    for name in ("file", "MB", "agreement", "ms per text"):
        table.add_column(name, justify="left" if name in ("file", "agreement") else "right")
    speed = {name: _milliseconds(report.speed, name) for name in report.speed.by_round} if report.speed else {}
    if "torch" in speed:
        table.add_row("torch", "", "", speed["torch"])
    for name, size in report.sizes.items():
        agreed = report.agreement.get(name)
        parity = (
            f"cosine to fp32: mean {agreed.mean_cosine:.5f}, lowest {agreed.min_cosine:.5f} ({agreed.texts} texts)"
            if agreed
            else f"largest difference to torch {report.difference.largest:.1e}"
        )
        table.add_row(name, f"{size / 1e6:.1f}", parity, speed.get(name, ""))
    console = Console(file=sys.stdout)
    console.print(table)
    for sentence in report.speed_sentences():
        console.print(sentence, highlight=False)
    if report.speed:
        console.print(f"(one text at a time, one thread, {report.speed.texts} texts)", highlight=False)
    for record in report.judged:
        if record.metric == "difference" and record.task == "mean_s5":
            console.print(
                f"encodechka {record.task} ({record.variant}), {record.model}: {record.value:+.4f} "
                f"[{record.low:+.4f}, {record.high:+.4f}]", highlight=False, markup=False,
            )  # fmt: skip
    for sentence in report.limits:
        console.print(sentence, highlight=False)
    if docker:
        where = report.folder / "Dockerfile"
        console.print(f"serve it in a container: the first lines of {where} say how", highlight=False, markup=False)
    console.print(f"use it: slonik.load({str(report.folder)!r}).encode([...])", highlight=False, markup=False)
