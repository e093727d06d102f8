"""What a job is: slonik's command lines, where they run, on how much, for how long.

Does: read times, mounts and counts, refuse what no scheduler could make sense of, and build the command line of one
process or of several (torchrun). Does not: write files of a scheduler (see `slurm`, `kubernetes`, ...), nor parse
slonik's own options, which the command line does before.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from slonik.core.config import Config
from slonik.core.errors import SlonikError

Target = Literal["slurm", "kubernetes", "kubeflow", "skypilot", "apptainer", "local"]
SHARING = ("pretrain", "adapt")
"""Commands whose work several processes share; the others run in one process on one GPU."""
SAVING_SECONDS = 120
"""Time before the end at which a job is told to save."""

_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")
_SHORT = re.compile(r"(\d+)([dhm])")
_SECONDS = {"d": 86400, "h": 3600, "m": 60}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Mount(Config):
    """A folder, or on Kubernetes a PersistentVolumeClaim, that the job sees.

    Attributes:
        source: absolute path on the machine; a name without slashes is a claim's; on SkyPilot also a bucket's address.
        target: absolute path in the container.
        read_only: the job may not write there.
    """

    source: str
    target: str
    read_only: bool = False

    @property
    def claim(self) -> bool:
        """Whether the source is the name of a claim."""
        return "/" not in self.source

    @classmethod
    def read(cls, text: str) -> Mount:
        """A mount from `SOURCE:TARGET[:ro]`.

        Raises:
            SlonikError: it is not of that form, or the target is not absolute.
        """
        rest, read_only = (text[:-3], True) if text.endswith(":ro") else (text, False)
        source, colon, target = rest.rpartition(":")
        if not colon or not source or not target.startswith("/"):
            raise SlonikError(
                f"--mount {text!r} is not SOURCE:TARGET with an absolute path as target, for example "
                "/data/corpora:/data, or on Kubernetes CLAIM:/data; add :ro where the job only reads"
            )
        return cls(source=source, target=target, read_only=read_only)


class Job(Config):
    """One launch: a command line, or several that differ in seeds or folds and become an array of jobs.

    Attributes:
        on: where it runs.
        name: of the job; files and folders bear it.
        commands: words after `slonik`, one tuple per element of the array.
        folder: the working folder that relative paths refer to.
        nodes: machines of one element.
        gpus: of each node; 0 = none. gpu_type: as the scheduler calls it.
        processes: of each node; None = one per GPU, at least one.
        cpus: of each node. memory: of each node, for example "64G".
        seconds: the most time that an attempt may take; None = no limit of ours.
        queue: Slurm's partition, Kueue's queue.
        image: container image: a file or an address; None = none.
        mounts: what the container sees.
        env: further environment variables. setup: shell lines before the command. directives: further lines for
            sbatch.
        python: interpreter of the job; None = this one, in an image its own.
        retries: how many times a job that died (not one that refused its options) is started again.
        recipe: the recipe that the commands read, where there is one. recipe_hash: sha256 of its content.
    """

    on: Target
    name: str
    commands: tuple[tuple[str, ...], ...] = Field(min_length=1)
    folder: Path
    nodes: int = Field(1, ge=1)
    gpus: int = Field(1, ge=0)
    gpu_type: str | None = None
    processes: int | None = Field(None, ge=1)
    cpus: int | None = Field(None, ge=1)
    memory: str | None = None
    seconds: int | None = Field(None, ge=60)
    queue: str | None = None
    image: str | None = None
    mounts: tuple[Mount, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    setup: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    python: str | None = None
    retries: int = Field(3, ge=0)
    recipe: Path | None = None
    recipe_hash: str | None = None

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("a job's name has letters, digits, '.', '_' and '-' only: give another with --job")
        return name

    @field_validator("memory")
    @classmethod
    def _known_memory(cls, memory: str | None) -> str | None:
        if memory is not None and not re.fullmatch(r"[1-9]\d*[MG]", memory):
            raise ValueError("write megabytes or gigabytes, for example 512M or 64G")
        return memory

    @model_validator(mode="after")
    def _fitting(self) -> Job:
        first = self.commands[0][0]
        if self.processes is not None and self.gpus and self.processes > self.gpus:
            raise ValueError(f"{self.processes} processes per node have {self.gpus} GPU between them: each needs one")
        if self.several and first not in SHARING:
            count = f"{self.nodes} nodes with {self.per_node} processes each"
            raise ValueError(
                f"slonik {first} works in one process, and {count} were asked for: use --nodes 1 --gpus 1 (or 0), and "
                f"--array for several runs; {' and '.join(f'slonik {name}' for name in SHARING)} share their work out"
            )
        return self

    @property
    def per_node(self) -> int:
        """Processes of each node."""
        return self.processes or max(self.gpus, 1)

    @property
    def several(self) -> bool:
        """Whether an element has more than one process."""
        return self.nodes * self.per_node > 1

    @property
    def array(self) -> bool:
        """Whether there are several elements."""
        return len(self.commands) > 1

    @property
    def lead(self) -> int:
        """Seconds before the end at which the job is told to save: two minutes, less for a job of a few minutes."""
        return min(SAVING_SECONDS, (self.seconds or 4 * SAVING_SECONDS) // 4)

    @property
    def interpreter(self) -> str:
        """The Python of the job."""
        return self.python or ("python" if self.image else sys.executable)

    def told(self) -> dict[str, Any]:
        """What the passport of the result is told of the job."""
        content: dict[str, Any] = {
            "on": self.on, "name": self.name, "nodes": self.nodes, "gpus": self.gpus, "gpu_type": self.gpu_type,
            "processes": self.per_node, "queue": self.queue, "image": self.image, "recipe": self.recipe_hash,
        }  # fmt: skip
        return {name: value for name, value in content.items() if value is not None}


def program(job: Job, *, rendezvous: Sequence[str] = ()) -> list[str]:
    """The words before slonik's own: Python, and torchrun where there are several processes.

    Args:
        rendezvous: torchrun's options that say where its processes meet; none = on this machine alone.
    """
    if not job.several:
        return [job.interpreter, "-m", "slonik"]
    meeting = list(rendezvous) or ["--standalone"]
    counts = [f"--nnodes={job.nodes}", f"--nproc-per-node={job.per_node}"]
    # The scheduler starts a job again; torchrun would start those again that were told to save and end.
    return [job.interpreter, "-m", "torch.distributed.run", *counts, *meeting, "--max-restarts=0", "-m", "slonik"]


def read_time(text: str) -> int:
    """Seconds of a time as people write it for a scheduler: 48:00:00, 2-12:00:00, 36h, 90m, 2d.

    Raises:
        SlonikError: it is none of these, or less than a minute.
    """
    seconds = 0
    if (clock := _CLOCK.fullmatch(text)) is not None:
        days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
        if minutes < 60 and rest < 60:
            seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    elif (short := _SHORT.fullmatch(text)) is not None:
        seconds = int(short.group(1)) * _SECONDS[short.group(2)]
    if seconds < 60:
        raise SlonikError(
            f"--time {text!r} is no time of a job: write HOURS:MINUTES:SECONDS (48:00:00), with days before them "
            "(2-12:00:00), or 36h, 90m, 2d; a minute is the least"
        )
    return seconds


def read_gpus(text: str) -> tuple[int, str | None]:
    """Number and type of GPUs from `8` or `H100:8`.

    Raises:
        SlonikError: it is neither.
    """
    kind, colon, count = text.rpartition(":")
    if not count.isdigit() or (colon and not re.fullmatch(r"[A-Za-z0-9._-]+", kind)):
        raise SlonikError(f"--gpus {text!r} is no number of GPUs: write 8, H100:8, or 0 for none")
    return int(count), kind or None


def read_pairs(pairs: Sequence[str], option: str) -> dict[str, str]:
    """`KEY=VALUE` -> value by key.

    Raises:
        SlonikError: one is not of that form.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise SlonikError(f"{option} {pair!r} is not of the form NAME=VALUE")
        found[name] = value
    return found


def unused(job: Job, names: Mapping[str, str], where: str) -> None:
    """Refuse fields that would do nothing there.

    Args:
        names: field -> the option that sets it.

    Raises:
        SlonikError: one of them was set.
    """
    defaults = {name: field.get_default(call_default_factory=True) for name, field in type(job).model_fields.items()}
    given = [option for name, option in names.items() if getattr(job, name) != defaults[name]]
    if given:
        raise SlonikError(f"{', '.join(given)} does nothing {where}: leave it out")
