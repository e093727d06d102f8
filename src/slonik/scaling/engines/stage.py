"""A stage: a datatrove pipeline that runs once per task, with its log, its statistics and its marks of what is done.

Our executors are datatrove's `PipelineExecutor` with another `run`: its own local one waits for ever for a worker that
was killed (it sends tasks through a multiprocessing pool), and its Ray one only warns when tasks fail (0.10). What a
task writes beside the files of its pipeline lies in the stage's folder of logs: `logs/task_00017.log`, `stats/`,
`completions/`, and `failures/00017.txt` with the sentence of what went wrong.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from datatrove.executor.base import DistributedEnvVars, PipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.stats import PipelineStats

from slonik.core.errors import SlonikError

_SHOWN = 3
ONE_THREAD = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Environment of a worker: a task has one processor."""


@dataclass(frozen=True)
class Stage:
    """Work of many equal tasks.

    Attributes:
        name: letters of a file name.
        title: for the progress bar.
        pipeline: datatrove's blocks, run one after another for each task; they must not hold what a task changes.
        tasks: how many there are.
        label: what a task works on, for sentences.
    """

    name: str
    title: str
    pipeline: Sequence[PipelineStep]
    tasks: int
    label: Callable[[int], str]


class Engine(Protocol):
    """What hands out the tasks of stages and waits for them."""

    def run(self, stage: Stage, folder: str) -> None:
        """Run the tasks of a stage that are not done.

        Args:
            folder: for logs and marks, a path or URL that all workers reach.

        Raises:
            SlonikError: tasks failed; the others are done.
        """
        ...


class Failures(PipelineExecutor):
    """A pipeline executor that leaves a sentence per failed task: for `run_for_rank` of any engine."""

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> PipelineStats:
        place = f"failures/{rank:05d}.txt"
        if self.logging_dir.exists(place):
            self.logging_dir.rm(place)
        try:
            return super()._run_for_rank(rank, local_rank, node_rank)
        except Exception as error:
            sentence = str(error) if isinstance(error, SlonikError) else f"{type(error).__name__}: {error}"
            with self.logging_dir.open(place, "w") as stream:
                stream.write(" ".join(sentence.split()))
            raise

    def failures(self) -> dict[int, str]:
        """Task -> the sentence of what went wrong, of those that were begun and failed."""
        found = self.logging_dir.list_files("failures") if self.logging_dir.exists("failures") else []
        sentences = {}
        for name in found:
            with self.logging_dir.open(name, "r") as stream:
                sentences[int(name.rsplit("/", 1)[-1].removesuffix(".txt"))] = stream.read()
        return sentences

    def todo(self) -> list[int]:
        """Tasks that are not done."""
        return [int(rank) for rank in self.get_incomplete_ranks()] if self.logging_dir.exists("completions") else list(
            range(self.world_size)
        )  # fmt: skip


class StageExecutor(Failures):
    """The tasks of a stage for an engine that calls `run_task` itself: picklable, without the labels."""

    def __init__(self, stage: Stage, folder: str) -> None:
        super().__init__(list(stage.pipeline), folder)
        self.tasks = stage.tasks

    @property
    def world_size(self) -> int:
        """How many tasks there are."""
        return self.tasks

    def run(self) -> None:
        """Not used: engines hand out tasks."""
        raise NotImplementedError

    def get_distributed_env(self, node_rank: int = -1) -> DistributedEnvVars:
        """What datatrove's blocks may ask for; ours do not."""
        return DistributedEnvVars(
            datatrove_node_ips="localhost", datatrove_cpus_per_task="1", datatrove_mem_per_cpu="-1",
            datatrove_gpus_on_node="0", datatrove_executor="SLONIK",
        )  # fmt: skip

    def run_task(self, rank: int) -> bool:
        """Run one task; False where it failed, which its log and `failures` tell. Nothing is said on the console."""
        mine = copy.copy(self)
        mine.pipeline = copy.deepcopy(self.pipeline)  # blocks count as they run
        before = dict(os.environ)
        with contextlib.redirect_stderr(_Nowhere()):
            try:
                mine._run_for_rank(rank, local_rank=1)
            except Exception:
                return False
            finally:
                for name in set(os.environ) - set(before):
                    if name.startswith("DATATROVE_"):
                        del os.environ[name]
        return True


class _Nowhere(io.TextIOBase):
    """Takes what is written and drops it: datatrove logs to the console besides the file."""

    def write(self, text: str) -> int:
        return len(text)


def check(stage: Stage, executor: Failures, lost: dict[int, str] | None = None) -> None:
    """Refuse a stage of which tasks are not done.

    Args:
        lost: task -> how its worker ended, of those that left no sentence.

    Raises:
        SlonikError: naming what the tasks worked on, why they failed and where the log lies.
    """
    left = executor.todo()
    if not left:
        return
    why = executor.failures() | (lost or {})
    told = [f"{stage.label(rank)}: {why.get(rank, 'it did not end')}" for rank in left[:_SHOWN]]
    more = f"; and {len(left) - _SHOWN:,} more" if len(left) > _SHOWN else ""
    log = executor.logging_dir.resolve_paths(f"logs/task_{left[0]:05d}.log")
    raise SlonikError(
        f"{stage.title}: {len(left):,} of {stage.tasks:,} tasks failed ({'; '.join(told)}{more}). The log of the first "
        f"is {log}; what is done stays, and the same command goes on"
    )


def block_seconds(folder: str) -> dict[str, float]:
    """Seconds that each block of a stage took, over all its tasks, from datatrove's statistics."""
    from datatrove.io import get_datafolder

    place, found = get_datafolder(folder), dict[str, float]()
    for name in place.list_files("stats"):
        with place.open(name, "r") as stream:
            blocks: list[dict[str, Any]] = json.load(stream)
        for block in blocks:
            timed = block["time_stats"] or {}  # a bare 0 where nothing was timed
            found[block["name"]] = found.get(block["name"], 0.0) + float(timed.get("total", 0.0))
    return found
