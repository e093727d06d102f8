"""Blocks that workers import."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep

from slonik.core.errors import SlonikError


class Odd(PipelineStep):
    """Writes a file per task; one task is refused, and one kills its process the first time."""

    name, type = "odd", "test"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        """See `PipelineStep.run`."""
        killed = self.folder / "killed"
        if rank == 1 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if rank == 3 and not (self.folder / "mended").exists():
            raise SlonikError("c.txt, line 3: not UTF-8")
        (self.folder / f"{rank}.txt").write_text(f"{rank} of {world_size}")
