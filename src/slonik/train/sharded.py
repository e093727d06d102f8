"""The tensors of a checkpoint in shards: each process writes its own part, and any number of processes reads them.

By torch.distributed.checkpoint in its safetensors format: `shard-00003-...safetensors` holds what process 3 had, and
where in the whole tensors it belongs stands in the file's header. Nothing is pickled. What is alike in all processes is
written once, by turns. Says nothing about when to save (`saving`) or which checkpoints stay (`checkpoints`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from slonik.core.errors import SlonikError, disk_error

SHARDS = "shards"
"""Folder of a checkpoint."""
_FILE_BYTES = 256 << 20  # of a process: a file is put together in memory, and Python stands still meanwhile
_ALONE = "torch.distributed is disabled"  # said at every call of a single process

Sizes = dict[str, tuple[torch.Size, torch.dtype]]
"""Name -> shape of the whole tensor and type."""


def begin_writing(named: Mapping[str, Tensor], folder: Path, group: Any) -> Future[Any]:
    """Copy this process's parts of `named` to the host and write them in the background; all processes must call.

    Args:
        named: whole tensors, or DTensors in parts; the same names in every process.
        folder: the same in every process; made where it is not there.
        group: for the processes to agree in, of its own, on the host; None with one process.

    Returns:
        Done when every process has written its part; `said` makes a sentence of its error.
    """
    writer = dcp.HuggingFaceStorageWriter(str(folder), fqn_to_index_mapping=_files(named, group), save_distributed=True)
    planner = dcp.DefaultSavePlanner()
    warnings.filterwarnings("ignore", message=_ALONE)  # not for the call alone: it is said in another thread
    found = dcp.async_save(
        dict(named), storage_writer=writer, planner=planner, process_group=group, no_dist=group is None
    )  # fmt: skip
    return found.upload_completion if isinstance(found, dcp.state_dict_saver.AsyncSaveResponse) else found


def _files(named: Mapping[str, Tensor], group: Any) -> dict[str, int]:
    """Name -> number of the file, from 1; the processes share each."""
    most = _FILE_BYTES * (torch.distributed.get_world_size(group) if group is not None else 1)
    numbers, number, size = {}, 1, 0
    for name, tensor in named.items():
        if size > most:
            number, size = number + 1, 0
        size += tensor.numel() * tensor.element_size()
        numbers[name] = number
    return numbers


def sizes_in(folder: Path) -> Sizes:
    """What is in the shards of `folder`."""
    stored = dcp.HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    tensors = {name: facts for name, facts in stored.items() if isinstance(facts, TensorStorageMetadata)}
    return {name: (facts.size, facts.properties.dtype) for name, facts in tensors.items()}


def read_into(named: Mapping[str, Tensor], folder: Path, group: Any = None) -> None:
    """Fill tensors, whole or in parts, with what the shards hold of them; all processes of `group` must call.

    Raises:
        SlonikError: a file that cannot be read.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_ALONE)
        reader = dcp.HuggingFaceStorageReader(str(folder))
        try:
            dcp.load(dict(named), storage_reader=reader, process_group=group, no_dist=group is None)
        except CheckpointException as error:
            raise said(error, folder, "read") from None


def part_in(folder: Path, part: str) -> dict[str, Tensor]:
    """The whole tensors of one part of a checkpoint ("model"), on the host; for one process alone."""
    begin = f"{part}/"
    named = {
        name: torch.empty(size, dtype=dtype)
        for name, (size, dtype) in sizes_in(folder).items()
        if name.startswith(begin)
    }
    read_into(named, folder)
    return {name.removeprefix(begin): tensor for name, tensor in named.items()}


def said(error: CheckpointException, folder: Path, what: str = "write") -> SlonikError:
    """The sentence for what failed in any process."""
    rank, (first, _) = next(iter(sorted(error.failures.items(), key=lambda item: item[0])))
    if isinstance(first, OSError) and what == "write":
        return disk_error(first, folder)
    return SlonikError(f"process {rank} cannot {what} the checkpoint {folder}: {first}")
