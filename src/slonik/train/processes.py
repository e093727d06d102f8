"""The processes of one run (torchrun, accelerate launch), what they tell each other, and a model spread over them.

Accelerate starts the process group and knows the device. With one process everything answers at once. A model lies in
copies whose gradients are averaged (DDP), or in one copy in parts (FSDP).
"""

from __future__ import annotations

import gc
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch

# Before any group exists: the default arguments of its functions would otherwise hold the group for good (DDP imports
# the module late), and the group's threads would outlive `leave`.
import torch.distributed.nn.functional
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, broadcast_object_list, gather_object
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from slonik.core.errors import SlonikError
from slonik.train.kernels import repeated_blocks

T = TypeVar("T")

_SETTLE_SECONDS = 0.1  # see `leave`
PATIENCE = timedelta(hours=12)  # the others wait while the first one cleans a corpus or writes a large checkpoint


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
            InitProcessGroupKwargs(timeout=PATIENCE),
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

    def from_first(self, work: Callable[[], T]) -> T:
        """What `work` returns in the first process; the others wait for it.

        Raises:
            SlonikError: in every process, what `work` raises in the first.
        """
        found, error = None, None
        if self.main:
            try:
                found = work()
            except SlonikError as refused:
                if self.world == 1:
                    raise
                error = SlonikError(str(refused))  # of a class that can be sent
        found, error = self.from_main((found, error))
        if error is not None:
            raise error
        return found  # type: ignore[return-value]

    def gather(self, value: T) -> list[T]:
        """Everybody's `value`, by rank."""
        if self.world == 1:
            return [value]
        gathered: list[T] = gather_object([value])
        return gathered

    def wait(self) -> None:
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


class _Inside(nn.Module):
    """Calls a function within `forward`; holds the modules that it uses.

    DDP and FSDP hook into `forward` of the module they wrap; objectives call any part of a model. So what is wrapped
    is this, and within the function everything is as if there were one process.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(modules)

    def forward(self, work: Callable[[], Any]) -> Any:
        return work()


class Wrapped:
    """The trained modules across the processes of a run; with one process nothing is wrapped.

    Args:
        processes: of the run.
        modules: name -> module, on this process's device, equal weights everywhere. With `sharded` their parameters
            are replaced by this process's parts of them (DTensor).
        sharded: FSDP instead of DDP: parameters, gradients and optimizer state are spread over the processes.
    """

    def __init__(self, processes: Processes, modules: Mapping[str, nn.Module], *, sharded: bool) -> None:
        self._sharded = sharded and processes.world > 1
        self._inside = _Inside(modules)
        self._ddp: Any = None
        if self._sharded:
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard

            mesh = init_device_mesh(processes.device.type, (processes.world,))
            for block in repeated_blocks(self._inside):
                fully_shard(block, mesh=mesh)
            fully_shard(self._inside, mesh=mesh)
        elif processes.world > 1:
            with warnings.catch_warnings():  # about a name of an option, which only later versions of torch have
                warnings.simplefilter("ignore", FutureWarning)
                self._ddp = processes.accelerator.prepare_model(self._inside)

    def training(self, work: Callable[[], T]) -> T:
        """`work()` in the forward pass of training; it must return the loss tensor alone or in a tuple."""
        result: T = (self._ddp or self._inside)(work)
        return result

    def watching(self, work: Callable[[], T]) -> T:
        """`work()` without gradients, every parameter readable."""
        result: T = self._inside(work)
        return result

    @contextmanager
    def gradients(self, *, averaged: bool) -> Iterator[None]:
        """Within the block, backward passes average their gradients over the processes, or only add them up here."""
        if self._sharded:
            self._inside.set_requires_gradient_sync(averaged)  # type: ignore[operator]
            yield
        elif self._ddp is not None and not averaged:
            with self._ddp.no_sync():
                yield
        else:
            yield


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together from its parts in all processes (each must call); others as they are."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` on the device of `like`, cut into this process's part if `like` is in parts and of its shape."""
    moved = tensor.to(like.device)
    if isinstance(like, DTensor) and moved.shape == like.shape:
        return distribute_tensor(moved, like.device_mesh, like.placements)
    return moved


def local(tensor: Tensor) -> Tensor:
    """The numbers that lie in this process."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def load_parts(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy whole tensors into a module whose parameters may be in parts."""
    own = module.state_dict()
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(part_of(tensor, own[name]))
