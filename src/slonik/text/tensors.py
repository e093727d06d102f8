"""Small safetensors files by numpy alone, for what runs without torch: modules behind a pooling, transitions of a CRF.

Weights of whole models are read by the library of that name, where torch is. Format:
https://huggingface.co/docs/safetensors (8 bytes of length, a JSON header, the values).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError

Array = NDArray[np.float32]
_KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def read_tensors(path: Path, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Name -> values as float32 of the tensors in a safetensors file.

    Args:
        names: those to read; None = all. One that the file lacks is left out.

    Raises:
        SlonikError: the file is missing, damaged, or of a type that is none of weights.
    """
    header, begin = _header(path)
    found = {}
    try:
        with open(path, "rb") as stream:
            for name in (name for name in (header if names is None else names) if name in header):
                start, end = header[name]["data_offsets"]
                stream.seek(begin + start)
                found[name] = _array(header[name], stream.read(end - start))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None
    return found


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors in a safetensors file.

    Raises:
        SlonikError: the file is missing or damaged.
    """
    return list(_header(path)[0])


def write_tensors(path: Path, tensors: Mapping[str, NDArray[np.floating]]) -> None:
    """Write arrays as float32, in the order of their names.

    Raises:
        SlonikError: the disk is full or the place cannot be written to.
    """
    from slonik.core.files import write_bytes  # its hashing and locks cost a process that only reads 6 MiB

    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    parts, place = [], 0
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name], dtype="<f4")
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [place, place + values.nbytes]}
        parts.append(values.tobytes())
        place += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    write_bytes(path, struct.pack("<Q", len(text)) + text + b"".join(parts))


def _header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Name -> type, shape and place of each tensor, and the byte where the values begin."""
    try:
        with open(path, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > path.stat().st_size - 8:
                raise ValueError(f"its header says {length} bytes")
            header = json.loads(stream.read(length))
        return {name: dict(entry) for name, entry in header.items() if name != "__metadata__"}, 8 + length
    except (OSError, ValueError, TypeError, AttributeError, struct.error) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> SlonikError:
    return SlonikError(f"{path} is damaged or missing ({error}): fetch or save the checkpoint again")


def _array(entry: Mapping[str, Any], content: bytes) -> Array:
    kind = str(entry["dtype"])
    if kind not in _KINDS:
        raise ValueError(f"a tensor of the type {kind}")
    values = np.frombuffer(content, dtype=_KINDS[kind]).reshape(entry["shape"])
    if kind == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32).copy()
    return np.array(values, dtype=np.float32)
