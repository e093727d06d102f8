"""What a task asks of a scheduler."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Needs:
    """Of Slurm's tasks.

    Attributes:
        queue: partition; None = the cluster's default.
        time: limit of one task, as HH:MM:SS.
        memory: GB of one task; None = the cluster's default.
    """

    queue: str | None = None
    time: str | None = None
    memory: int | None = None
