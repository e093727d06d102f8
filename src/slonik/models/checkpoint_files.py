"""The files of a checkpoint before any of them is loaded: whether they are whole, and what is in them.

Reads headers and bytes only; needs neither torch nor transformers. What they make up is in
`kinds`, building a model is `load`'s.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.text.lines import read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_READ = 1 << 24
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class TensorInfo:
    """Type (safetensors name, e.g. "F32") and shape of one stored tensor, and where its bytes are."""

    dtype: str
    shape: tuple[int, ...]
    path: Path | None = None
    start: int = 0
    end: int = 0

    @property
    def count(self) -> int:
        total = 1
        for size in self.shape:
            total *= size
        return total

    @property
    def bytes(self) -> int:
        return self.count * ITEM_BYTES.get(self.dtype, 1)


def read_config_json(folder: Path) -> dict[str, Any]:
    """The content of config.json.

    Raises:
        SlonikError: it is missing, damaged, or does not say which kind of model it is.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise SlonikError(f"{folder} has no config.json: it is not a checkpoint folder")
    config: dict[str, Any] = read_json(path)
    if not config.get("model_type"):
        raise SlonikError(f'{path} has no model_type: add it (for example "bert") or fetch the checkpoint again')
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, one or the shards that its index names.

    Raises:
        SlonikError: there are none; pickled weights are named but not read.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        shards = read_json(folder / INDEX).get("weight_map", {})
        return [folder / Path(str(name)).name for name in sorted(set(shards.values()))]
    if (folder / "onnx").is_dir():
        raise SlonikError(
            f"{folder} holds an exported model without {WEIGHTS}: it encodes, but cannot be cut or trained"
        )
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if pickled:
        raise SlonikError(
            f"{folder} has no {WEIGHTS}, only {pickled[0]}: pickled weights can run code and are not read unless you "
            "ask for it; --convert-weights (in Python convert_weights=True) takes the weights alone out of them"
        )
    raise SlonikError(f"{folder} has no {WEIGHTS}: the weights are missing; fetch or save the checkpoint again")


def read_tensors(folder: Path) -> dict[str, TensorInfo]:
    """Name -> type, shape and place of every stored tensor; checks that each file is as long as its header says.

    Raises:
        SlonikError: a file is missing, cut short, or not safetensors.
    """
    found: dict[str, TensorInfo] = {}
    for path in weight_files(folder):
        if not path.is_file():
            raise SlonikError(f"{path} is missing though {INDEX} names it: fetch the checkpoint again")
        try:
            found |= _read_header(path)
        except (ValueError, KeyError, TypeError, AttributeError, struct.error, OSError) as error:
            raise SlonikError(f"{path} is damaged or cut short ({error}): fetch or save the checkpoint again") from None
    return found


def hash_tensors(tensors: Iterable[tuple[str, str, tuple[int, ...], Iterable[bytes | memoryview]]]) -> str:
    """sha256 over (name, type, shape, bytes) of tensors, sorted by name: the same in memory and in any file layout."""
    digest = hashlib.sha256()
    for name, dtype, shape, chunks in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name} {dtype} {list(shape)}\n".encode())
        for chunk in chunks:
            digest.update(chunk)
    return digest.hexdigest()


def hash_weights(tensors: dict[str, TensorInfo]) -> str:
    """`hash_tensors` of what `read_tensors` found."""
    return hash_tensors((name, info.dtype, info.shape, _chunks(info)) for name, info in tensors.items())


def _read_header(path: Path) -> dict[str, TensorInfo]:
    size = path.stat().st_size
    with open(path, "rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > size - 8:
            raise ValueError(f"its header says {length} bytes, the file has {size}")
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        if end > size:
            raise ValueError(f"tensor {name} ends at byte {end}, the file has {size}")
        found[name] = TensorInfo(entry["dtype"], tuple(entry["shape"]), path, start, end)
    if not found:
        raise ValueError("it holds no tensors")
    return found


def _chunks(info: TensorInfo) -> Iterator[bytes]:
    if info.path is None:
        return
    with open(info.path, "rb") as stream:
        stream.seek(info.start)
        left = info.end - info.start
        while left > 0 and (chunk := stream.read(min(left, _READ))):
            left -= len(chunk)
            yield chunk
