"""`slonik launch COMMAND...`: a job of a slonik command for Slurm, Kubernetes, Kubeflow, SkyPilot, or this machine."""

from __future__ import annotations

import typer

from slonik.cli.common import announce, group_with
from slonik.cli.numbers import COUNT, PLACE

_DEFAULT = "run"


def register(app: typer.Typer) -> None:
    """Add the `launch` group."""
    group = typer.Typer(
        cls=group_with(_DEFAULT),
        no_args_is_help=True,
        help="Run slonik commands on a cluster: slonik launch COMMAND... --on slurm [OPTIONS].",
    )
    group.command(_DEFAULT, context_settings={"ignore_unknown_options": True})(run)
    group.command("status")(status)
    group.command("logs")(logs)
    group.command("cancel")(cancel)
    app.add_typer(group, name="launch")


def run(
    command: list[str] = typer.Argument(help="A slonik command with its options, as you would type it after slonik."),
    on: str = typer.Option(
        ..., "--on", metavar="WHERE", help="slurm, kubernetes, kubeflow, skypilot, apptainer, local."
    ),
    submit: bool = typer.Option(
        False, "--submit", help="Hand the files to the scheduler; without it they are written."
    ),
    nodes: int = typer.Option(1, help="Machines.", **COUNT),
    gpus: str = typer.Option("1", metavar="[TYPE:]N", help="GPUs of each machine, one process for each; 0 = none."),
    time: str | None = typer.Option(None, metavar="HH:MM:SS", help="The most that it may take (also 2-12:00:00, 36h)."),
    queue: str | None = typer.Option(None, help="Slurm's partition, or Kueue's queue."),
    image: str | None = typer.Option(None, help="Container image: a .sif file, or an address with a version."),
    mount: list[str] = typer.Option([], metavar="FROM:TO[:ro]", help="Folder, claim or bucket that the job sees."),
    array: str | None = typer.Option(
        None, metavar="NAME=VALUES", help="One job for each value of {NAME} in the command: seed=0-4, fold=0,1,2."
    ),
    job: str | None = typer.Option(None, metavar="NAME", help="Name of the launch (default: as --out of the command)."),
    per_node: int | None = typer.Option(
        None, "--processes-per-node", help="Processes of each machine, where there are no GPUs (1).", **COUNT
    ),
    cpus: int | None = typer.Option(None, help="CPU cores of each machine.", **COUNT),
    memory: str | None = typer.Option(None, metavar="64G", help="Memory of each machine."),
    env: list[str] = typer.Option([], metavar="NAME=VALUE", help="Environment variable of the job."),
    setup: list[str] = typer.Option([], metavar="LINE", help="Shell line before the command: 'module load cuda'."),
    directive: list[str] = typer.Option([], metavar="LINE", help="Further option for sbatch: --account=nlp."),
    python: str | None = typer.Option(None, metavar="PATH", help="Interpreter of the job (this one; an image's own)."),
    retries: int = typer.Option(3, help="How often a job that died is started again.", **PLACE),
) -> None:
    """Write, and with --submit hand over, the job of any slonik command.

    The command is checked first, its recipe too: a mistake is found here, not on the cluster. Options of launch may
    stand before or behind those of the command; what follows -- is the command's. Files, record, logs: OUT.launch.

    Examples:

        slonik launch pretrain bert.yaml --corpus shards --out my-bert --on slurm --nodes 2 --gpus 8 --time 48:00:00

        slonik launch pretrain bert.yaml --seed {seed} --out bert-{seed} --array seed=0-4 --on slurm --time 12h --submit

        slonik launch status my-bert
    """
    from slonik.jobs import launch
    from slonik.scaling.job import read_pairs

    made = launch(
        command, on=on, job=job, nodes=nodes, gpus=gpus, processes=per_node, cpus=cpus, memory=memory, time=time,
        queue=queue, image=image, mounts=mount, array=array, env=read_pairs(env, "--env"), setup=setup,
        directives=directive, python=python, retries=retries, submit=submit, announce=announce,
    )  # fmt: skip
    for file in made.files:
        typer.echo(f"written: {file}")
    if made.job is None:
        typer.echo("not submitted: give --submit as well, or hand the file over yourself")
    else:
        typer.echo(f"job {made.job}: slonik launch status {made.name}")


def status(name: str = typer.Argument(help="The launch: the --out or --job that it was given.")) -> None:
    """Ask the scheduler what has become of a launch; a bad end is explained, and its log named.

    Example: slonik launch status my-bert
    """
    from slonik.reporting.table import print_table
    from slonik.scaling.launch import status as ask
    from slonik.scaling.launch import status_table

    states = ask(name)
    print_table(status_table(name, states))
    for one in states:
        if one.ended and not one.well:
            where = one.log or f"slonik launch logs {name}"
            typer.echo(f"{one.element}: {one.reason or 'why, its log may say'} (log: {where})")


def logs(
    name: str = typer.Argument(help="The launch: the --out or --job that it was given."),
    lines: int = typer.Option(100, help="So many of the last lines of each job.", **COUNT),
) -> None:
    """Print what the jobs of a launch wrote last.

    Example: slonik launch logs my-bert --lines 20
    """
    from slonik.scaling.launch import logs as read

    typer.echo(read(name, lines=lines))


def cancel(name: str = typer.Argument(help="The launch: the --out or --job that it was given.")) -> None:
    """Take a launch from the queue, or end it; checkpoints and logs stay.

    Example: slonik launch cancel my-bert
    """
    from slonik.scaling.launch import cancel as end

    typer.echo(f"cancelled: job {end(name)}")
