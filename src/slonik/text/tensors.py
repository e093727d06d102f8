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
_DTYPES = {"F32": "<f4", "F16": "<f2", "I8": "|i1", "U8": "|u1", "I64": "<i8"}
_NAMES = {kind: name for name, kind in _DTYPES.items()}


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

    arrays = {name: np.ascontiguousarray(values, dtype="<f4") for name, values in tensors.items()}
    write_bytes(path, stored(arrays)[0])


def stored(
    tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The bytes of a safetensors file, and where in it each tensor begins and how many bytes it has.

    Larger numbers come first, so that each lies at a multiple of its own size and may be used in the file's memory.

    Args:
        tensors: of float32, float16, int8, uint8, or int64; written as they are.
        metadata: texts beside `format`, which other readers ask for.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    parts, places, place = [], {}, 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name)):
        values = np.ascontiguousarray(tensors[name])
        kind = _NAMES[values.dtype.newbyteorder("<").str]
        header[name] = {
            "dtype": kind,
            "shape": list(tensors[name].shape),
            "data_offsets": [place, place + values.nbytes],
        }
        parts.append(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
        places[name] = (place, values.nbytes)
        place += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-(8 + len(text)) % 64)
    begin = 8 + len(text)
    return struct.pack("<Q", len(text)) + text + b"".join(parts), {
        name: (begin + start, size) for name, (start, size) in places.items()
    }


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that a safetensors file carries about itself.

    Raises:
        SlonikError: the file is missing or damaged.
    """
    return _read_header(path)[0].get("__metadata__", {})


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Name -> values of every tensor in a safetensors file, of the type that it is stored in.

    Raises:
        SlonikError: the file is missing, damaged, or of a type that `stored` does not write.
    """
    header, begin = _header(path)
    try:
        content = memoryview(path.read_bytes())[begin:]
        return {
            name: np.frombuffer(content[slice(*entry["data_offsets"])], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None


def _header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Name -> type, shape and place of each tensor, and the byte where the values begin."""
    header, begin = _read_header(path)
    return {name: entry for name, entry in header.items() if name != "__metadata__"}, begin


def _read_header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The whole header, `__metadata__` with the tensors, and the byte where the values begin."""
    try:
        with open(path, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > path.stat().st_size - 8:
                raise ValueError(f"its header says {length} bytes")
            header = json.loads(stream.read(length))
        return {name: dict(entry) for name, entry in header.items()}, 8 + length
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
