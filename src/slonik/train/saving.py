"""Saving beside the training: the tensors are copied, and a thread writes the copy while the steps go on.

One save is under way at a time; what comes next waits for it. A checkpoint counts only when it is whole (`checkpoints`
renames the folder at the end), so a run that is killed in the middle of a save has the one before. One process writes
whole files; several may write a shard each (`sharded`), of which whole weights are made in the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor

from slonik.train.checkpoints import Checkpoints
from slonik.train.processes import PATIENCE, Processes, whole
from slonik.train.sharded import SHARDS, begin_writing, part_in, said

_LAST_SECONDS = 60.0

Parts = Mapping[str, Mapping[str, Tensor]]
"""Part ("model", "optimizer") -> name -> tensor."""


class Saver:
    """Writes the checkpoints of one run.

    Args:
        checkpoints: where they lie.
        processes: of the run; all of them call every method.
        sharded: each process writes its part; otherwise the first writes everything.
    """

    def __init__(self, checkpoints: Checkpoints, processes: Processes, *, sharded: bool) -> None:
        self._checkpoints, self._processes, self._sharded = checkpoints, processes, sharded
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saving")
        self._pending: Future[None] | None = None
        several = sharded and processes.world > 1
        # Of its own, for the thread talks to the others while the steps do; on the host, where NCCL does not work.
        self.group: Any = torch.distributed.new_group(backend="gloo", timeout=PATIENCE) if several else None

    def save(self, step: int, parts: Parts, state: Mapping[str, Any]) -> None:
        """Begin a checkpoint; the tensors may change as soon as this returns.

        Raises:
            SlonikError: the save before has failed (a full disk).
        """
        self._begin(self._checkpoints.path(step).name, parts, state)

    def save_best(self, step: int, parts: Parts, state: Mapping[str, Any]) -> str:
        """Begin to write the weights of the best evaluation so far; returns the name of their folder."""
        name = f"best_{step:08d}"
        self._begin(name, parts, state)
        return name

    def settle(self) -> None:
        """Wait until the save that is under way is on disk, in this process.

        Raises:
            SlonikError: it has failed.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Let a save end that is under way; where another process is gone, it does not for long."""
        alone = self._processes.world == 1
        with suppress(TimeoutError):
            if self._pending is not None:
                self._pending.exception(None if alone else _LAST_SECONDS)
        self._thread.shutdown(wait=alone)

    def whole_weights(self, folder: Path) -> Path:
        """The safetensors file of the model in a checkpoint's folder; made of its shards where it has such."""
        self.settle()
        self._processes.wait()
        if (folder / SHARDS).is_dir():
            made = self._checkpoints.exported(folder, part_in) if self._processes.main else None
            folder = Path(self._processes.from_main(str(made)))
        return folder / "model.safetensors"

    def _begin(self, name: str, parts: Parts, state: Mapping[str, Any]) -> None:
        self.settle()
        if self._sharded:
            self._begin_shards(name, parts, state)
            return
        copies = _copies(parts, keep=self._processes.main)
        if self._processes.main:
            self._pending = self._thread.submit(self._checkpoints.write, name, copies, state)

    def _begin_shards(self, name: str, parts: Parts, state: Mapping[str, Any]) -> None:
        opened = ExitStack()
        begun = opened.enter_context(self._checkpoints.filling(name, state)) if self._processes.main else None
        folder = Path(self._processes.from_main(str(begun))) / SHARDS
        named = {f"{part}/{key}": tensor for part, tensors in parts.items() for key, tensor in tensors.items()}
        with opened:
            written = begin_writing(named, folder, self.group)
            self._pending = self._thread.submit(_end, written, opened.pop_all(), folder)


def _end(written: Future[Any], opened: ExitStack, folder: Path) -> None:
    """Wait for all shards; then the folder gets its name, or is removed."""
    with opened:
        try:
            written.result()
        except CheckpointException as error:
            raise said(error, folder.parent) from None


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state of a module, each tensor once: of tied ones the first name."""
    names: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), name)
    state = module.state_dict()
    return {name: state[name] for name in names.values()}


def _copies(parts: Parts, *, keep: bool) -> dict[str, dict[str, Tensor]]:
    """Whole tensors on the host that share no memory with those that are trained; only with `keep` they are held."""
    found: dict[str, dict[str, Tensor]] = {}
    for part, named in parts.items():
        found[part] = {}
        for name, tensor in named.items():
            complete = whole(tensor)
            if keep:
                fresh = isinstance(tensor, DTensor)
                found[part][name] = complete.detach().to("cpu", copy=not fresh)
    return found
