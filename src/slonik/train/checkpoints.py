"""Checkpoints on disk: whole or not there, hashed, without pickle.

A checkpoint is a folder `step_00001200` with one safetensors file per part (model, objective, optimizer) or the folder
`shards` (`sharded`), `state.json` (everything that is not a tensor) and `manifest.json` (SHA-256 of each file). It is
filled under a temporary name and renamed. Weights of the best evaluation lie beside in `best_00000900`, and are kept as
long as a checkpoint names them; whole weights made of shards in `weights_of_best_00000900`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from slonik.core import files
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file
from slonik.train.sharded import SHARDS

_log = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
_STATE = "state.json"
_STEP = "step_"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint read from disk.

    Attributes:
        folder: where it lies.
        state: the JSON part.
        tensors: part name -> tensor name -> tensor, on the CPU; empty where they are in shards.
        shards: their folder, where they are.
    """

    folder: Path
    state: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]
    shards: Path | None = None


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: holds them; made when the first is written.
        keep: how many of the newest are kept.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def path(self, step: int) -> Path:
        """Where the checkpoint of `step` is, or would be."""
        return self._folder / f"{_STEP}{step:08d}"

    def write(self, name: str, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Write the folder `name` with a file for each part; see `filling`."""
        with self.filling(name, state) as folder:
            for part, named in tensors.items():
                _save_tensors(folder / f"{part}.safetensors", named, self._folder / name)

    @contextmanager
    def filling(self, name: str, state: Mapping[str, Any]) -> Iterator[Path]:
        """A folder to put tensors into; when the block ends it gets its state, hashes and name.

        Then checkpoints go that are no longer wanted.

        Args:
            state: JSON values; `state["best"]["folder"]`, where there is one, is kept alive.

        Raises:
            SlonikError: full disk; the checkpoints written before are intact.
        """
        with files.new_folder(self._folder / name, overwrite=True) as folder:
            yield folder
            text = json.dumps(state, ensure_ascii=False, indent=1)
            (folder / _STATE).write_text(text, encoding="utf-8")
            written = sorted(path for path in folder.rglob("*") if path.is_file())
            manifest = {path.relative_to(folder).as_posix(): sha256_file(path) for path in written}
            (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        if name.startswith(_STEP):
            self._prune()

    def exported(self, folder: Path, part_in: Callable[[Path, str], dict[str, Tensor]]) -> Path:
        """A folder with the whole weights of a checkpoint that is in shards; made where it is not there."""
        target = self._folder / f"weights_of_{folder.name}"
        if not target.is_dir():
            for old in self._folders("weights_of_"):
                shutil.rmtree(old, ignore_errors=True)
            state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
            self.write(target.name, {"model": part_in(folder / SHARDS, "model")}, state)
        return target

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None where there is none at all.

        Raises:
            SlonikError: there are checkpoints, and every one is damaged.
        """
        folders = self._folders(_STEP)
        problems = []
        for folder in reversed(folders):
            try:
                return read_checkpoint(folder)
            except SlonikError as error:
                _log.warning("%s; using the one before", error)
                problems.append(folder.name)
        if problems:
            raise SlonikError(
                f"every checkpoint in {self._folder} is damaged ({', '.join(problems)}): "
                "remove the folder to start anew"
            )
        return None

    def sweep(self) -> None:
        """Remove what a killed run left half-written."""
        for path in self._folder.glob(".slonik-tmp-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _folders(self, prefix: str) -> list[Path]:
        return sorted(path for path in self._folder.glob(f"{prefix}*") if path.is_dir())

    def _prune(self) -> None:
        """Keep the newest checkpoints and the best weights that they name."""
        folders = self._folders(_STEP)
        for folder in folders[: -self._keep]:
            shutil.rmtree(folder, ignore_errors=True)
        wanted = {_best_name(folder) for folder in folders[-self._keep :]}
        for folder in self._folders("best_"):
            if folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)


def read_checkpoint(folder: Path, *, verify: bool = True) -> Checkpoint:
    """Read and verify a checkpoint folder; shards are not read.

    Args:
        verify: False where another process has compared the hashes.

    Raises:
        SlonikError: a file is missing or its hash differs.
    """
    try:
        manifest: dict[str, str] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        for name, expected in manifest.items() if verify else ():
            if sha256_file(folder / name) != expected:
                raise SlonikError(f"the checkpoint {folder} is damaged: {name} is not what was written")
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        sharded = any(name.startswith(f"{SHARDS}/") for name in manifest)
        parts = [name.removesuffix(".safetensors") for name in manifest if name.endswith(".safetensors")]
        tensors = {part: load_file(folder / f"{part}.safetensors") for part in parts if not sharded}
    except (OSError, ValueError, SafetensorError) as error:
        raise SlonikError(f"the checkpoint {folder} is damaged: {error}") from None
    return Checkpoint(folder, state, tensors, folder / SHARDS if sharded else None)


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Load weights read from `folder`; names left out because they share memory with others may be missing.

    Raises:
        SlonikError: the weights belong to another model.
    """
    own = module.state_dict()
    present = {tensor.data_ptr() for name, tensor in own.items() if name in tensors}
    lost = [name for name, tensor in own.items() if name not in tensors and tensor.data_ptr() not in present]
    wrong = [name for name, tensor in tensors.items() if name not in own or own[name].shape != tensor.shape]
    if lost or wrong:
        raise SlonikError(f"the weights in {folder} belong to another model (first difference: {(lost + wrong)[0]})")
    module.load_state_dict(tensors, strict=False)


def _save_tensors(path: Path, tensors: Mapping[str, Tensor], target: Path) -> None:
    """Write tensors; one that shares memory with an earlier one (tied weights) is left out."""
    seen: set[tuple[int, tuple[int, ...]]] = set()
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() == 0 or place not in seen:
            seen.add(place)
            kept[name] = tensor.detach().contiguous().cpu()
    try:
        save_file(kept, path)
    except SafetensorError as error:
        # The writer reports a full disk as its own error, not as OSError.
        raise SlonikError(
            f"cannot write {target} ({error}): free some disk and run the same command again; "
            "what was written before is intact"
        ) from None


def _best_name(folder: Path) -> str | None:
    try:
        best = json.loads((folder / _STATE).read_text(encoding="utf-8")).get("best")
    except (OSError, ValueError):
        return None
    return best["folder"] if best else None
