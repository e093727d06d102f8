"""How a run begins or goes on: from which checkpoint, whether that is of this very run, and where its tensors go.

The size of a step, and whether embeddings are trained by rows, stay as the run was begun; the number of processes may
be another one each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from slonik.core.errors import SlonikError
from slonik.core.progress import warn_once
from slonik.models.precision import precision_on
from slonik.train.checkpoints import Checkpoint, Checkpoints, load_weights, read_checkpoint
from slonik.train.optimizers import Optimizers, trains_rows
from slonik.train.processes import Processes
from slonik.train.run_state import RunState, begun, check_identity
from slonik.train.saving import own_tensors
from slonik.train.sharded import read_into, sizes_in
from slonik.train.train_config import TrainConfig
from slonik.train.watch import forget

_OPTIMIZER = "optimizer/"


def find(processes: Processes, checkpoints: Checkpoints, folder: Path) -> Checkpoint | None:
    """The checkpoint to go on from: the first process chooses and compares hashes, all read it.

    Raises:
        SlonikError: in every process, where all checkpoints are damaged.
    """
    chosen: list[Checkpoint] = []

    def choose() -> Path | None:
        forget(folder)
        checkpoints.sweep()
        if (found := checkpoints.latest()) is not None:
            chosen.append(found)
        return found.folder if found else None

    place = processes.from_first(choose)
    if place is None or chosen:
        return chosen[0] if chosen else None
    return read_checkpoint(place, verify=False)


def with_precision(
    config: TrainConfig, found: Checkpoint | None, processes: Processes, device: torch.device, folder: Path
) -> TrainConfig:
    """`config` with the precision that "auto" means on this device; a run that goes on keeps its own."""
    here = precision = precision_on(device, config.precision)
    if config.precision == "auto" and found is not None:
        saved = RunState.from_json(found.state, found.folder).identity["config"]
        precision = saved.get("precision", precision)
        if here != precision:
            warn_once(
                f"the run in {folder} was begun with precision {precision} and goes on with it; a new run on "
                f"this machine would take {here}"
            )
    return config.model_copy(update={"precision": processes.from_main(precision)})


def fresh_state(
    modules: Mapping[str, nn.Module],
    config: TrainConfig,
    identity: Mapping[str, Any],
    processes: Processes,
    folder: Path,
) -> RunState:
    """The state of a run that has no checkpoint."""
    world = processes.world
    state = RunState(
        identity=dict(identity), batches=config.accumulate * world, rows=trains_rows(modules, config, world)
    )
    return processes.from_first(lambda: begun(folder, state))


def saved_state(
    checkpoint: Checkpoint, config: TrainConfig, identity: Mapping[str, Any], world: int, folder: Path
) -> RunState:
    """The state of a checkpoint, which must be of this very run.

    Raises:
        SlonikError: it is of another recipe, another corpus, a later version; or other settings than the number of
            processes have changed.
    """
    saved = RunState.from_json(checkpoint.state, checkpoint.folder)
    accumulate = config.accumulate
    if accumulate * world == saved.batches:  # as many batches, by other processes
        accumulate = saved.identity["config"]["accumulate"]
    check_identity(
        saved.identity, {**identity, "config": {**identity["config"], "accumulate": accumulate}}, folder
    )  # fmt: skip
    if "format" not in checkpoint.state:
        saved.rows = any(name.startswith("lazy/") for name in checkpoint.tensors["optimizer"])
    return saved


def check_rows(state: RunState, world: int, folder: Path) -> None:
    """Refuse several processes to a run that trains its embeddings by rows.

    Raises:
        SlonikError: it is one.
    """
    if state.rows and world > 1:
        raise SlonikError(
            f"the run in {folder} was begun in one process and trains its embeddings by rows (embeddings: lazy), "
            "which several cannot: go on with one process, or begin anew with embeddings: dense"
        )


def read_weights(checkpoint: Checkpoint, modules: Mapping[str, nn.Module]) -> None:
    """Put whole weights into modules that are not in parts yet; shards are read later, by `read_rest`.

    Raises:
        SlonikError: the weights belong to another model.
    """
    if checkpoint.shards is None:
        for name, module in modules.items():
            load_weights(module, checkpoint.tensors.get(name, {}), checkpoint.folder)


def read_rest(checkpoint: Checkpoint, modules: Mapping[str, nn.Module], optimizers: Optimizers, group: Any) -> None:
    """Read the optimizer's state, and of shards the weights too, this process's part of them.

    Raises:
        SlonikError: the tensors belong to another model.
    """
    if checkpoint.shards is None:
        optimizers.load_tensors(checkpoint.tensors["optimizer"])
        return
    sizes = sizes_in(checkpoint.shards)
    named = {f"{part}/{name}": one for part, of in modules.items() for name, one in own_tensors(of).items()}
    wrong = {name for name, tensor in named.items() if sizes.get(name, ((),))[0] != tensor.shape}
    wrong |= {name for name in sizes if name not in named and not name.startswith(_OPTIMIZER)}
    if wrong:
        raise SlonikError(
            f"the weights in {checkpoint.folder} belong to another model (first difference: {min(wrong)})"
        )
    state = optimizers.room(
        {name.removeprefix(_OPTIMIZER): size for name, size in sizes.items() if name.startswith(_OPTIMIZER)}
    )
    named |= {_OPTIMIZER + name: tensor for name, tensor in state.items()}
    read_into(named, checkpoint.shards, group)
