"""A model in several processes: copies whose gradients are averaged (DDP), or one copy in parts (FSDP).

Both libraries hook into `forward` of the module they wrap; objectives call any part of a model. So what is wrapped is
a module whose `forward` runs a given function, within which everything is as if there were one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from slonik.train.compiling import repeated_blocks
from slonik.train.processes import Processes

T = TypeVar("T")


class _Inside(nn.Module):
    """Calls a function within `forward`; holds the modules that it uses."""

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


def whole_state(named: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Every tensor whole; only processes with `keep` hold on to them, so that memory is spent in one place."""
    found = {}
    for name, tensor in named.items():
        complete = whole(tensor)
        if keep:
            found[name] = complete.detach().cpu() if isinstance(tensor, DTensor) else complete
    return found


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
