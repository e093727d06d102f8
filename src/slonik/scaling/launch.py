"""`slonik launch`: write a job's files, hand them to the scheduler, and ask it what has become of the job.

A launch has a folder beside the result, `OUT.launch`: the scheduler's files, `launch.json` (what was launched, the
recipe's hash, the numbers that the scheduler gave) and, where the job runs on this file system, its logs. A folder is
one job's: the same command may be launched again when it has ended, another command is refused there. No queue and no
supervisor of our own: schedulers do the scheduling.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.files import write_text
from slonik.core.hashing import sha256_file
from slonik.core.run import Result
from slonik.core.version import __version__
from slonik.reporting.table import Table
from slonik.scaling import kubernetes, scripts, skypilot, slurm
from slonik.scaling.job import Job
from slonik.scaling.launch_record import FORMAT, SUFFIX, LaunchRecord, changed, launch_folder, launch_name
from slonik.scaling.programs import needed
from slonik.scaling.shell import quoted
from slonik.scaling.state import State, reason_of, tail

TARGETS = {
    "slurm": slurm.write, "kubernetes": kubernetes.write, "kubeflow": kubernetes.write, "skypilot": skypilot.write,
    "apptainer": scripts.write, "local": scripts.write,
}  # fmt: skip
"""Scheduler -> what writes its files."""
_PROGRAMS = {
    "slurm": ("sbatch", "Slurm"), "kubernetes": ("kubectl", "Kubernetes"), "kubeflow": ("kubectl", "Kubernetes"),
    "skypilot": ("sky", "SkyPilot"), "apptainer": ("apptainer", "the container"),
}  # fmt: skip
FROM_HERE = ("slurm", "apptainer", "local")
"""Targets whose jobs see this machine's files: what is not here is not there."""


@dataclass(frozen=True, kw_only=True)
class Launch(Result):
    """A job that was written, and perhaps submitted.

    Attributes:
        name: for `slonik launch status`, `logs` and `cancel`.
        folder: with the scheduler's files, `launch.json` and logs.
        files: of the scheduler.
        job: the number or name that the scheduler gave it; None where it was not submitted.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]
    job: str | None = None


def launch(fields: Mapping[str, Any], place: Path, *, submit: bool = False) -> Launch:
    """Write a job's files into its folder, and submit it.

    Args:
        fields: of a `Job`.
        place: the result's place; the folder is `PLACE.launch`.
        submit: hand the files to the scheduler.

    Raises:
        SlonikError: fields that do not go together, an image that is not there, a scheduler that is not installed, a
            folder that holds another job, or the same one that has not ended. Nothing was overwritten.
    """
    job = build_config(Job, fields, source="the launch")
    job = _with_recipe(job)
    _check_image(job)
    folder = launch_folder(place)
    files = TARGETS[job.on](job, folder.absolute())
    record = {
        "format": FORMAT, "slonik": __version__, "commands": [f"slonik {quoted(words)}" for words in job.commands],
        "job": json.loads(job.model_dump_json()), "files": sorted(files),
    }  # fmt: skip
    if submit:
        _check_scheduler(job)
    with changed(folder) as kept:
        if kept.is_submitted and not _ended(kept):
            raise SlonikError(
                f"{launch_name(folder)} is launched already (job {kept.identity()}) and has not ended: wait for it, or "
                f"slonik launch cancel {launch_name(folder)}; nothing was overwritten"
            )
        kept.take(record)
        for name, text in files.items():
            write_text(folder / name, text)
        kept.write()
        identity = None
        if submit:
            if kept.is_submitted and job.on in ("kubernetes", "kubeflow"):
                kubernetes.cancel(kept.identity(), job.on)  # its objects, which have ended, bear the same names
            identity = _submit(job, folder.absolute())
            kept.submitted(identity)
            kept.write()
    paths = tuple(folder / file for file in sorted(files))
    return Launch(
        name=launch_name(folder), folder=folder, files=paths, job=identity, summary={"on": job.on, "job": identity}
    )


def status(name: str | Path) -> list[State]:
    """What the scheduler says of the elements of a launch that was submitted last, with the reason of a bad end.

    Raises:
        SlonikError: there is no such launch, it was not submitted, or the scheduler does not answer.
    """
    record = LaunchRecord.read(launch_folder(name))
    found = _asked(record)
    if not found:
        raise SlonikError(
            f"{record.on} does not know {record.identity()} any more: how it ended is in the logs, slonik launch logs "
            f"{name}, and in the result's passport"
        )
    return [_explained(one) for one in found]


def open_launches(folder: Path) -> list[Path]:
    """Names of the launches in a folder that were submitted, newest last."""
    found = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
    return [Path(launch_name(path)) for path in found if LaunchRecord.read(path).is_submitted][-1:]


def _ended(record: LaunchRecord) -> bool:
    """Whether nothing of the job that was submitted last waits or runs; one that is forgotten does not."""
    return all(one.ended for one in _asked(record))


def _asked(record: LaunchRecord) -> list[State]:
    """What the scheduler says; nothing where it has forgotten the job."""
    identity, on, folder = record.identity(), record.on, record.folder.absolute()
    if on == "slurm":
        found = slurm.states(identity)
        found = [replace(one, log=_slurm_log(folder, one.element)) for one in found]
    elif on in ("kubernetes", "kubeflow"):
        found = kubernetes.states(identity, on)
    elif on == "skypilot":
        found = skypilot.states(identity)
    else:
        found = scripts.states(identity, folder, len(record.content["commands"]))
        found = [replace(one, log=folder / scripts.LOG) for one in found]
    return found


def logs(name: str | Path, *, lines: int = 100) -> str:
    """The last lines of what the elements of a launch wrote.

    Raises:
        SlonikError: there is no such launch, it was not submitted, or has written nothing yet.
    """
    record = LaunchRecord.read(launch_folder(name))
    identity, folder = record.identity(), record.folder
    if record.on in ("kubernetes", "kubeflow"):
        return kubernetes.logs(identity, lines)
    if record.on == "skypilot":
        return skypilot.logs(identity, lines)
    pattern = slurm.log_names(identity) if record.on == "slurm" else scripts.LOG
    found = sorted(path for path in folder.glob(pattern) if path.stat().st_size)
    if not found:
        raise SlonikError(f"{identity} has written nothing yet: its log will be {folder}/{pattern}")
    parts = []
    for path in found:
        text = "\n".join(tail(path).splitlines()[-lines:])
        parts.append(f"==> {path} <==\n{text}" if len(found) > 1 else text)
    return "\n\n".join(parts)


def cancel(name: str | Path) -> str:
    """Take a launch from the queue, or end it; the scheduler's number of it.

    Raises:
        SlonikError: there is no such launch, it was not submitted, or the scheduler refuses.
    """
    record = LaunchRecord.read(launch_folder(name))
    identity = record.identity()
    if record.on == "slurm":
        slurm.cancel(identity)
    elif record.on in ("kubernetes", "kubeflow"):
        kubernetes.cancel(identity, record.on)
    elif record.on == "skypilot":
        skypilot.cancel(identity)
    else:
        scripts.cancel(identity, record.folder.absolute())
    return identity


def _with_recipe(job: Job) -> Job:
    """The job with the hash of its recipe."""
    if job.recipe is None:
        return job
    path = job.folder / job.recipe
    if not path.is_file():
        raise SlonikError(f"there is no recipe {job.recipe}")
    return job.model_copy(update={"recipe_hash": sha256_file(path)})


def _check_image(job: Job) -> None:
    """Refuse a file that is not there; addresses are the scheduler's to look up.

    Raises:
        SlonikError: no such file.
    """
    image = job.image
    if image is None or job.on not in FROM_HERE or "://" in image:
        return
    if not (job.folder / Path(image).expanduser()).exists():
        raise SlonikError(
            f"there is no image {image}: build it (apptainer build {Path(image).name} deploy/train/slonik.def), or "
            "give an address such as docker://OWNER/NAME:TAG"
        )


def _check_scheduler(job: Job) -> None:
    """Refuse a scheduler that is not installed, before anything is written."""
    if job.on in _PROGRAMS:
        needed(*_PROGRAMS[job.on])


def _submit(job: Job, folder: Path) -> str:
    if job.on == "slurm":
        return slurm.submit(folder)
    if job.on == "skypilot":
        return skypilot.submit(folder, len(job.commands))
    if job.on in ("kubernetes", "kubeflow"):
        return kubernetes.submit(folder)
    return scripts.submit(folder)


def _slurm_log(folder: Path, element: str) -> Path | None:
    path = folder / f"{element}.log"
    return path if path.is_file() else None


def _explained(state: State) -> State:
    """The state with the reason that scheduler or log tell of, where it ended badly."""
    if not state.ended or state.well:
        return state
    text = tail(state.log) if state.log is not None else ""
    return replace(state, reason=reason_of(f"{state.state} {state.why}\n{text}"))


def status_table(name: str, states: Sequence[State]) -> Table:
    """What the scheduler says of each element."""
    return Table.of(f"launch {name}", ("job", "state", "scheduler says"), [(s.element, s.state, s.why) for s in states])
