"""Engines: many equal tasks on processes of this machine, on a Ray cluster, or on Slurm.

A task is a rank of a datatrove pipeline (`stage`); what it makes depends on its rank alone, so every engine and any
number of workers give the same files. Tasks that were done are skipped, those that fail are named when all others are
done. Three ways to run one: `processes`, `ray_tasks`, `slurm_arrays`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args

from slonik.core.errors import MissingExtra, SlonikError, lookup
from slonik.core.processors import available_processors
from slonik.scaling.engines.needs import Needs

if TYPE_CHECKING:
    from slonik.scaling.engines.stage import Engine

EngineName = Literal["local", "ray", "slurm"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


@contextmanager
def open_engine(name: str, workers: int | None = None, needs: Needs = Needs()) -> Iterator[Engine]:
    """An engine, for as long as the block runs.

    Args:
        name: "local", "ray" or "slurm".
        workers: tasks at once; None: as many as this machine, or the cluster, has processors; of Slurm, as it allows.
        needs: what a task asks of a scheduler.

    Raises:
        SlonikError: an unknown engine, a number of workers below 1, options that the engine does not know.
        MissingExtra: datatrove, or ray, is not installed.
    """
    lookup(name, dict.fromkeys(ENGINES), "engine")
    if workers is not None and workers < 1:
        raise SlonikError(f"the number of workers is {workers}: it must be at least 1")
    if name != "slurm" and needs != Needs():
        raise SlonikError(f"queue, time and memory are for --engine slurm, and the engine is {name}: leave them out")
    try:
        import datatrove  # noqa: F401
    except ImportError as error:
        raise MissingExtra("preparing corpora with several workers", "scale", "datatrove") from error
    if name == "local":
        from slonik.scaling.engines.processes import Processes

        with Processes(workers or available_processors()) as engine:
            yield engine
    elif name == "ray":
        from slonik.scaling.engines.ray_tasks import RayTasks

        with RayTasks(workers) as tasks:
            yield tasks
    else:
        from slonik.scaling.engines.slurm_arrays import SlurmArrays

        yield SlurmArrays(workers, needs)
