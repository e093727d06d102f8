"""The processes of one run (torchrun, accelerate launch) and the few things they tell each other.

Accelerate starts the process group and knows the device. With one process every method answers at once. What is
trained, and how gradients are averaged, is not decided here.
"""

from __future__ import annotations

import gc
import os
import time
from datetime import timedelta
from typing import TypeVar

import torch

# Before any group exists: the default arguments of its functions would otherwise hold the group for good (DDP imports
# the module late), and the group's threads would outlive `leave`.
import torch.distributed.nn.functional
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    broadcast_object_list,
    gather_object,
)
from torch import Tensor

from slonik.core.errors import SlonikError

T = TypeVar("T")

_SETTLE_SECONDS = 0.1  # see `leave`
_PATIENCE = timedelta(hours=12)  # the others wait while the first one cleans a corpus or writes a large checkpoint


class Processes:
    """This process among the others.

    Attributes:
        accelerator: Accelerate's view, without mixed precision (the loop's own) and without trackers.
        device: of this process. rank: its number from 0. world: how many there are. main: whether it is the first.

    Args:
        device: "cpu", or "auto" for the accelerator of this process where there is one.

    Raises:
        SlonikError: the launcher announced several processes and they do not find each other.
    """

    def __init__(self, device: str = "auto") -> None:
        announced = int(os.environ.get("WORLD_SIZE", "1"))
        # Accelerate would take several processes without an accelerator for so many runs of one process each.
        cpu = device == "cpu" or (announced > 1 and not torch.cuda.is_available())
        # find_unused_parameters: a checkpoint's pooler takes no part in most objectives.
        handlers = [
            DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=_PATIENCE),
        ]
        self.accelerator = Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=handlers)
        self.device: torch.device = self.accelerator.device
        self.rank: int = self.accelerator.process_index
        self.world: int = self.accelerator.num_processes
        self.main = self.rank == 0
        if announced != self.world:
            raise SlonikError(
                f"the launcher announced {announced} processes and this run sees {self.world}: start it with torchrun "
                "or accelerate launch, and with one kind of device"
            )

    def sum(self, values: Tensor) -> Tensor:
        """`values` added up over the processes, in place."""
        if self.world > 1:
            torch.distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process."""
        if self.world == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def from_main(self, value: T) -> T:
        """The first process's `value`."""
        if self.world == 1:
            return value
        values = [value]
        broadcast_object_list(values)
        return values[0]

    def gather(self, value: T) -> list[T]:
        """Everybody's `value`, by rank."""
        if self.world == 1:
            return [value]
        gathered: list[T] = gather_object([value])
        return gathered

    def wait(self) -> None:
        """Until every process is here."""
        self.accelerator.wait_for_everyone()


def leave() -> None:
    """Leave the other processes: the last call of a program that trained in several; no `Processes` can follow.

    Gloo's threads free the tensors of a collective with Python's lock, a moment after the collective returned. Where
    that moment falls into the interpreter's shutdown the process is aborted (exit code -6 after a finished run; one
    run in seven of our tests on two busy cores). Destroying the group joins the threads. After FSDP torch's caches of
    DTensor layouts still hold the group; then the pause gives the threads the lock.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()  # wrapped models are cycles
        torch.distributed.destroy_process_group()
        gc.collect()
        time.sleep(_SETTLE_SECONDS)
