"""`slonik sweep COMMAND...`: one command with many settings and seeds, here or as jobs of a scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from slonik.cli.common import announce, given, print_tables
from slonik.cli.numbers import COUNT


def register(app: typer.Typer) -> None:
    """Add the `sweep` command."""
    app.command("sweep", context_settings={"ignore_unknown_options": True})(sweep)


def sweep(
    command: list[str] = typer.Argument(help="A recipe, or a slonik command with its options and without --out."),
    out: Path = typer.Option(..., help="Folder for runs, logs and sweep.parquet."),
    set_: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE,...", help="Field of the recipe and its values; repeat for a grid."
    ),
    seeds: int | None = typer.Option(None, help="So many seeds, from 0.", **COUNT),
    by: str | None = typer.Option(
        None, metavar="METRIC:min|max", help="Metric of the development set (default: what chose the checkpoints)."
    ),
    on: str | None = typer.Option(None, "--on", metavar="WHERE", help="As of slonik launch (default: here, in turn)."),
    submit: bool = typer.Option(False, "--submit", help="With --on: hand the jobs to the scheduler."),
    nodes: int | None = typer.Option(None, help="With --on: machines of each run.", **COUNT),
    gpus: str | None = typer.Option(None, metavar="[TYPE:]N", help="With --on: GPUs of each machine."),
    time: str | None = typer.Option(None, metavar="HH:MM:SS", help="With --on: the most that a run may take."),
    queue: str | None = typer.Option(None, help="With --on: Slurm's partition, or Kueue's queue."),
    image: str | None = typer.Option(None, help="With --on: container image."),
    mount: list[str] = typer.Option([], metavar="FROM:TO[:ro]", help="With --on: what the jobs see."),
    cpus: int | None = typer.Option(None, help="With --on: CPU cores of each machine.", **COUNT),
    memory: str | None = typer.Option(None, metavar="64G", help="With --on: memory of each machine."),
    setup: list[str] = typer.Option([], metavar="LINE", help="With --on: shell line before the command."),
    directive: list[str] = typer.Option([], metavar="LINE", help="With --on: further option for sbatch."),
) -> None:
    """Run every combination of settings and seeds, compare them on the development set, and keep everything in a table.

    Runs that are done are skipped, so the same command goes on after a crash; one that fails is shown with its sentence
    and does not stop the others. Test scores are kept and choose nothing.

    Examples:

        slonik sweep pretrain bert.yaml --corpus ru.txt --set train.learning_rate=3e-4,1e-3 --seeds 3 --out lr

        slonik sweep bert.yaml --set model.layers=4,6 --seeds 5 --on slurm --time 12:00:00 --submit --out layers

        slonik report layers
    """
    from slonik.jobs import sweep as run
    from slonik.reporting.sweeps import sweep_tables

    launch: dict[str, Any] = {
        "nodes": nodes, "gpus": gpus, "time": time, "queue": queue, "image": image, "mounts": mount or None,
        "cpus": cpus, "memory": memory, "setup": setup or None, "directives": directive or None,
    }  # fmt: skip
    found = run(
        command, out=out, set=set_, seeds=seeds, by=by, on=on, submit=submit, announce=announce, **given(launch)
    )  # fmt: skip
    print_tables(sweep_tables(found.rows))
    typer.echo(f"table: {found.report}")
    if found.failed:
        raise typer.Exit(1)
