"""The Ray engine: tasks on a Ray cluster, or on a Ray that is started on this machine where there is none.

Every machine of the cluster must have slonik installed and reach the work folder under the same name.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.progress import progress_bar
from slonik.scaling.engines.stage import ONE_THREAD, Stage, StageExecutor, check


def start_ray() -> tuple[Any, bool]:
    """(the module, whether Ray was started or joined here and is to be left again).

    An address in $RAY_ADDRESS, or a cluster of this machine, is joined; else Ray starts on this machine.

    Raises:
        SlonikError: the cluster does not answer.
        MissingExtra: ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("--engine ray", "ray", "ray") from error
    if ray.is_initialized():
        return ray, False
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # a bare one where it does not start in time
        named = os.environ.get("RAY_ADDRESS", "on this machine")
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SlonikError(f"Ray {named} does not start or answer ({reason[:200]})") from None
    return ray, True


class RayTasks:
    """Runs stages as Ray tasks of one processor each; a context that leaves Ray as it was found.

    Args:
        workers: tasks at once; None = as many as the cluster has processors.
    """

    def __init__(self, workers: int | None) -> None:
        self._ray, self._started = start_ray()
        self._workers = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started:
            self._ray.shutdown()

    def run(self, stage: Stage, folder: str) -> None:
        """See `Engine.run`."""
        ray, executor = self._ray, StageExecutor(stage, folder)
        todo, lost, running = executor.todo()[::-1], dict[int, str](), dict[Any, int]()
        task = ray.remote(num_cpus=1, max_retries=0, runtime_env={"env_vars": ONE_THREAD})(_run)
        shared = ray.put(executor)
        with progress_bar(stage.title, total=stage.tasks, completed=stage.tasks - len(todo)) as bar:
            while todo or running:
                while todo and len(running) < self._workers:
                    rank = todo.pop()
                    running[task.options(name=stage.label(rank)).remote(shared, rank)] = rank
                done, _ = ray.wait(list(running), num_returns=1)
                for reference in done:
                    rank = running.pop(reference)
                    try:
                        ray.get(reference)
                    except ray.exceptions.RayError as error:
                        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
                        lost[rank] = f"its worker died ({type(error).__name__}: {reason[:200]})"
                    bar.advance(1)
        check(stage, executor, lost)


def _run(executor: StageExecutor, rank: int) -> bool:
    return executor.run_task(rank)
