"""Checkpoints whose weights are pickled (.bin) as folders of safetensors in the cache, where the user asks for it.

A pickle can run code. Here torch's own reader for weights alone takes the tensors out of it and refuses everything
else; nothing is ever unpickled. The folder in the cache is named by all that the original holds, and made once.
"""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError, missing_extra
from slonik.core.files import new_folder
from slonik.core.identity import checkpoint_identity
from slonik.core.paths import cache_dir
from slonik.models.checkpoint_files import INDEX, WEIGHTS
from slonik.text.lines import read_json
from slonik.text.pipeline_files import PICKLED, modules_without_weights, transformer_folder

KIND = "converted"
_PICKLED_INDEX = f"{PICKLED}.index.json"
_LEFT_OUT = shutil.ignore_patterns("*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.ot", _PICKLED_INDEX, ".*")


def converted(folder: Path) -> Path:
    """`folder` itself where nothing in it is pickled alone, else its twin in the cache.

    Raises:
        SlonikError: a file holds more than weights, or is damaged; the cache cannot be written to.
        MissingExtra: torch is not installed.
    """
    wanted = _wanted(folder)
    if not wanted:
        return folder
    target = cache_dir() / KIND / f"{folder.resolve().name}-{checkpoint_identity(folder)[:16]}"
    if target.is_dir():
        return target
    with new_folder(target) as unfinished:
        shutil.copytree(folder, unfinished, ignore=_LEFT_OUT, dirs_exist_ok=True)
        for place, files in wanted.items():
            _convert(files, unfinished / place / WEIGHTS)
    return target


def _wanted(folder: Path) -> dict[Path, list[Path]]:
    """Folder inside the checkpoint -> pickled files that stand for its weights."""
    found: dict[Path, list[Path]] = {}
    inside = transformer_folder(folder)
    if not (inside / WEIGHTS).is_file() and not (inside / INDEX).is_file():
        files = [inside / PICKLED]
        if (inside / _PICKLED_INDEX).is_file():
            names = read_json(inside / _PICKLED_INDEX).get("weight_map", {}).values()
            files = [inside / Path(str(name)).name for name in sorted(set(names))]
        found[inside.relative_to(folder)] = files
    for place in modules_without_weights(folder):
        found[Path(place)] = [folder / place / PICKLED]
    return {place: files for place, files in found.items() if all(file.is_file() for file in files)}


def _convert(files: list[Path], target: Path) -> None:
    try:
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise missing_extra("converting pickled weights", error) from None

    tensors: dict[str, Any] = {}
    for path in files:
        tensors |= _tensors_of(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(target), metadata={"format": "pt"})


def _tensors_of(path: Path) -> dict[str, Any]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, AttributeError, LookupError, TypeError):
        raise SlonikError(
            f"{path} holds more than weights, or is damaged, and is not read: get the checkpoint as safetensors"
        ) from None
    except OSError as error:
        raise SlonikError(f"cannot read {path}: {error.strerror or error}") from None
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise SlonikError(f"{path} holds something else than named weights: get the checkpoint as safetensors")
    return {str(name): tensor.detach().clone().contiguous() for name, tensor in content.items()}
