"""The Slurm engine: the tasks of a stage as one job array (datatrove's executor); the command waits for its end.

The command runs where sbatch does and may be started again at any time: tasks that are done are not submitted again.
Every node must have this Python under the same path, and reach the work folder.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from datatrove.executor.slurm import SlurmPipelineExecutor
from loguru import logger

from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar
from slonik.scaling.engines.needs import Needs
from slonik.scaling.engines.stage import ONE_THREAD, Failures, Stage, check
from slonik.scaling.programs import answer, needed

_TIME = "24:00:00"
_POLL_SECONDS = 5.0


class SlurmArrays:
    """Runs stages as job arrays.

    Args:
        workers: tasks at once; None = as many as the cluster lets run.
        needs: of a task; 24 hours, and the cluster's defaults, where it does not say.

    Raises:
        SlonikError: Slurm's programs are not here.
    """

    def __init__(self, workers: int | None, needs: Needs) -> None:
        needed("sbatch", "Slurm")
        needed("squeue", "Slurm")
        self._workers, self._needs = workers, needs

    def run(self, stage: Stage, folder: str) -> None:
        """See `Engine.run`."""
        executor = _Array(stage, folder, self._workers, self._needs)
        todo = executor.todo()
        if todo:
            logger.disable("datatrove")  # which tells the console what it submits
            try:
                executor.launch_job()
            except (subprocess.CalledProcessError, OSError) as error:
                words = "its words are above" if isinstance(error, subprocess.CalledProcessError) else error
                script = executor.logging_dir.resolve_paths("launch_script.slurm")
                raise SlonikError(
                    f"sbatch refused the job of {stage.title} ({words}); the script is {script}"
                ) from None
            finally:
                logger.enable("datatrove")
        with progress_bar(stage.title, total=stage.tasks, completed=stage.tasks - len(todo)) as bar:
            done = stage.tasks - len(todo)
            while todo and executor.waits():
                time.sleep(_POLL_SECONDS)
                now = stage.tasks - len(executor.todo())
                bar.advance(now - done)
                done = now
        words = f"it ended without a word; what Slurm has of it is in {executor.slurm_logs_folder}"
        check(stage, executor, {rank: words for rank in executor.todo() if rank not in executor.failures()})


class _Array(Failures, SlurmPipelineExecutor):
    """A stage as a job array."""

    def __init__(self, stage: Stage, folder: str, workers: int | None, needs: Needs) -> None:
        exports = "".join(f"export {name}={value}\n" for name, value in ONE_THREAD.items())
        super().__init__(
            list(stage.pipeline), tasks=stage.tasks, time=needs.time or _TIME, partition=needs.queue or "",
            mem_per_cpu_gb=needs.memory or 0, workers=workers or -1, job_name=f"slonik-{stage.name}", qos="",
            env_command=f"{exports}export PATH={Path(sys.executable).parent}:$PATH", logging_dir=folder,
            requeue_signals=None,
        )  # fmt: skip

    def get_sbatch_args(self, max_array: int = 1) -> dict[str, Any]:
        """datatrove's, without a partition and memory where none was named: not every cluster counts memory."""
        found: dict[str, Any] = super().get_sbatch_args(max_array)
        asked = {"partition": self.partition, "mem-per-cpu": self.mem_per_cpu_gb}
        return {name: value for name, value in found.items() if asked.get(name, True)}

    def launch_merge_stats(self) -> None:
        """Not submitted: the driver reads the statistics itself."""

    def waits(self) -> bool:
        """Whether the array is still in the queue."""
        command = ["squeue", "--noheader", "--jobs", str(self.job_id), "--format", "%T"]
        try:
            return bool(answer(command, "asking Slurm for the job").strip())
        except SlonikError as error:  # a job that ended some time ago is unknown
            if "Invalid job id" in str(error):
                return False
            raise
