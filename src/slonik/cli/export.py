"""`slonik export CHECKPOINT`: ONNX files that run without torch, measured against it."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import ConvertWeights, JsonFile, LongTexts, Pooling, announce, print_tables, save_records


def register(app: typer.Typer) -> None:
    """Add `slonik export`."""
    app.command("export")(export)


def export(
    checkpoint: str = typer.Argument(help="Folder, hub id, or embedded:NAME."),
    out: Path = typer.Option(..., help="Folder to write; it appears whole or not at all."),
    role: str = typer.Option(
        "auto", "--as", help="encoder: vectors of any model; generator: it must write; auto: as the files say."
    ),
    int8: str = typer.Option("dynamic", help="dynamic, static (calibrated) or none."),
    fp16: bool = typer.Option(False, "--fp16", help="Write onnx/model_fp16.onnx too."),
    standard: bool = typer.Option(
        False, "--standard", help="Standard operators in the int8 file too: any engine reads it, a little slower."
    ),
    docker: bool = typer.Option(False, "--docker", help="Write a Dockerfile that serves the folder."),
    corpus: Path | None = typer.Option(None, help="Calibration texts, one per line (default: our own Russian ones)."),
    data_dir: Path | None = typer.Option(None, help="Hold the files to fp32 on encodechka too (minutes)."),
    measure_speed: bool = typer.Option(True, help="Time torch and the files side by side?"),
    measure: bool | None = typer.Option(None, hidden=True, help="The earlier name of --measure-speed."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the folder if it is there."),
    pooling: Pooling = None,
    long_texts: LongTexts = None,
    convert_weights: ConvertWeights = False,
    json_file: JsonFile = None,
) -> None:
    """Export to ONNX: fp32 and int8, held to what torch gives; nothing is called faster before it was measured."""
    from slonik.evaluation.encodechka.comparison import export_judge
    from slonik.exporting.run import export as run

    report = run(
        checkpoint, out, role=role, int8=int8, fp16=fp16, standard=standard, docker=docker, corpus=corpus,  # type: ignore[arg-type]
        measure_speed=measure_speed if measure is None else measure, pooling=pooling, long_texts=long_texts,  # type: ignore[arg-type]
        judge=export_judge(data_dir) if data_dir is not None else None, overwrite=overwrite, announce=announce,
    )  # fmt: skip
    print_tables([report.table()])
    for sentence in report.sentences():
        typer.echo(sentence)
    if docker:
        typer.echo(f"serve it in a container: the first lines of {out / 'Dockerfile'} say how")
    typer.echo(f"use it: {report.use}")
    save_records(json_file, report.records)
