"""A task for SkyPilot, run as a managed job: it finds machines, starts them, and goes on elsewhere after a preemption.

The working folder goes along. `--mount BUCKET:/data` (s3://..., gs://..., hf://...) brings data, and a bucket that may
be written to keeps what the job makes. `sky` is asked for everything.
Source: SkyPilot's task YAML, version 0.10 and later.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from slonik.core.errors import SlonikError
from slonik.core.passport import LAUNCH_VARIABLE
from slonik.core.version import __version__
from slonik.scaling.job import SAVING_SECONDS, Job, program, unused
from slonik.scaling.kubernetes import object_name
from slonik.scaling.manifests import yaml_text
from slonik.scaling.programs import answer, needed
from slonik.scaling.shell import opening, quoted
from slonik.scaling.state import State

FILE = "task.yaml"
_PORT = 29400
_HEAD = 'head=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)'


def write(job: Job, record: Path) -> dict[str, str]:
    """Name -> content of the files; one per element, for SkyPilot has no arrays.

    Raises:
        SlonikError: no type of GPU, no bucket to write to, a field that does nothing there.
    """
    del record
    unused(job, {"queue": "--queue", "directives": "--directive"}, "on SkyPilot, which finds the machines itself")
    if job.gpus and job.gpu_type is None:
        raise SlonikError(f"--gpus {job.gpus}: SkyPilot rents a type of GPU, so name it: --gpus H100:{job.gpus}")
    if not any(not mount.read_only for mount in job.mounts):
        raise SlonikError(
            "what a rented machine writes goes with it: give a bucket that outlives it, --mount s3://BUCKET:/work, "
            "where --out then lies"
        )
    files = {}
    for number in range(len(job.commands)):
        files[_file(number)] = "\n".join([*opening(job), yaml_text([_task(job, number)])])
    return files


def _file(number: int) -> str:
    return FILE if number == 0 else f"task-{number}.yaml"


def _task(job: Job, number: int) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    if job.gpus:
        resources["accelerators"] = {job.gpu_type: job.gpus}
    if job.cpus is not None:
        resources["cpus"] = f"{job.cpus}+"
    if job.memory is not None:
        resources["memory"] = f"{int(job.memory[:-1]) / (1 if job.memory[-1] == 'G' else 1024):g}+"
    if job.image is not None:
        resources["image_id"] = job.image if ":" in job.image.partition("/")[0] else f"docker:{job.image}"
    resources["job_recovery"] = {"max_restarts_on_errors": job.retries}
    setup = list(job.setup) if job.setup or job.image else [f"pip install 'slonik[train]=={__version__}'"]
    mounts: dict[str, Any] = {mount.target: mount.source for mount in job.mounts if "://" not in mount.source}
    for mount in job.mounts:
        if "://" in mount.source:  # a bucket is mounted, its files are not copied
            mounts[mount.target] = {"source": mount.source, "mode": "COPY" if mount.read_only else "MOUNT"}
    variables = {
        LAUNCH_VARIABLE: json.dumps(job.told(), ensure_ascii=False),
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SAVING_SECONDS - 10),
        **job.env,
    }
    name = object_name(job.name)
    content: dict[str, Any] = {
        "name": f"{name}-{number}" if job.array else name, "workdir": ".", "num_nodes": job.nodes,
        "resources": resources, "file_mounts": mounts, "envs": variables, "setup": "\n".join(setup) or None,
        "run": _run(job, number),
    }  # fmt: skip
    return {name: value for name, value in content.items() if value not in (None, {})}


def _run(job: Job, number: int) -> str:
    meeting = ("--rdzv-backend=c10d", "--rdzv-id=slonik", f"--rdzv-endpoint=@HEAD:{_PORT}")
    python = job if job.python else job.model_copy(update={"python": "python"})
    words = quoted(program(python, rendezvous=meeting if job.nodes > 1 else ())).replace("@HEAD", "$head")
    if job.seconds is not None:
        words = f"timeout --signal=TERM --kill-after={SAVING_SECONDS} {job.seconds} {words}"
    lines = ["export SLONIK_JOB=$SKYPILOT_TASK_ID", *([_HEAD] if job.nodes > 1 else [])]
    return "\n".join([*lines, f"{words} {quoted(job.commands[number])}"]) + "\n"


def submit(record: Path, count: int) -> str:
    """Queue the tasks as managed jobs; their names, by which they are found, with commas between.

    Raises:
        SlonikError: `sky` is not installed, or refuses the task.
    """
    sky, names = needed("sky", "SkyPilot"), []
    for number in range(count):
        task = record / _file(number)
        names.append(str(yaml.safe_load(task.read_text(encoding="utf-8"))["name"]))
        answer([sky, "jobs", "launch", "--yes", "--detach-run", str(task)], "SkyPilot refused the task")
    return ",".join(names)


def states(identity: str) -> list[State]:
    """What SkyPilot says of the jobs of these names.

    Raises:
        SlonikError: `sky` is not installed, or does not answer.
    """
    said = answer([needed("sky", "SkyPilot"), "jobs", "queue", "--output", "json"], "SkyPilot does not answer")
    rows = [row for row in json.loads(said) if str(row.get("job_name", "")) in identity.split(",")]
    return [
        State(str(row["job_name"]), str(row.get("status", "")).rpartition(".")[2], str(row.get("failure_reason") or ""))
        for row in rows
    ]


def logs(identity: str, lines: int) -> str:
    """The last lines of what each job wrote.

    Raises:
        SlonikError: `sky` is not installed, or has none.
    """
    sky = needed("sky", "SkyPilot")
    command = [sky, "jobs", "logs", "--no-follow", "--tail", str(lines), "--name"]
    return "\n".join(answer([*command, name], "SkyPilot has no log") for name in identity.split(","))


def cancel(identity: str) -> None:
    """End the jobs and give the machines back.

    Raises:
        SlonikError: `sky` is not installed, or refuses.
    """
    for name in identity.split(","):
        command = [needed("sky", "SkyPilot"), "jobs", "cancel", "--yes", "--name", name]
        answer(command, f"SkyPilot does not cancel {name}")
