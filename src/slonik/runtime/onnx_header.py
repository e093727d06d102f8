"""What an ONNX file says of itself, read without onnx and without its weights, and which onnxruntime it needs.

An ONNX file is one protobuf message (onnx.proto, ModelProto): its few short fields are read here, the graph is skipped.
So a file for a newer onnxruntime is refused before anything of it is loaded, in a sentence with both versions; the
library's own words for it name an "IR version" and advise nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import onnxruntime

from slonik.core.errors import SlonikError

METADATA_KEY = "slonik"
LEAST_KEY = "onnxruntime"
WEIGHTS_KEY = "weights"
"""In which file beside it an ONNX file's numbers are, where they are not its own."""
BEFORE_IT_WAS_SAID = "1.21.1"
"""Files of slonik that name no version share one bias of attention among heads, which older versions read wrongly."""
_OPSETS, _METADATA = 8, 14  # fields of ModelProto
_KEY, _VALUE = 1, 2  # fields of StringStringEntryProto and, as domain and version, of OperatorSetIdProto
_SHORT = 1 << 24  # bytes; metadata are read up to here


@dataclass(frozen=True)
class Header:
    """The short fields of an ONNX file.

    Attributes:
        opset: version of the standard operators; 0 where it is not said.
        properties: its metadata.
    """

    opset: int = 0
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> dict[str, Any]:
        """What slonik's exporter wrote; empty for files of other tools."""
        try:
            content = json.loads(self.properties.get(METADATA_KEY, ""))
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    @property
    def least_onnxruntime(self) -> str | None:
        """The oldest onnxruntime that reads the file right, where slonik wrote it."""
        ours = self.ours
        return str(ours.get(LEAST_KEY, BEFORE_IT_WAS_SAID)) if ours else None


def read_header(path: Path) -> Header:
    """The short fields of `path`; an empty header where it is no such file (onnxruntime will say so)."""
    opset, properties = 0, {}
    try:
        with path.open("rb") as file:
            for number, content in _fields(file):
                if number == _METADATA:
                    parts = dict(_fields_of(content))
                    properties[_text(parts.get(_KEY, b""))] = _text(parts.get(_VALUE, b""))
                elif number == _OPSETS:
                    parts = dict(_fields_of(content))
                    if _text(parts.get(_KEY, b"")) in ("", "ai.onnx"):
                        opset = parts.get(_VALUE, 0)  # type: ignore[assignment]
    except (OSError, ValueError):
        return Header()
    return Header(opset if isinstance(opset, int) else 0, properties)


def check_version(path: Path, installed: str = onnxruntime.__version__) -> None:
    """Refuse a file that the installed onnxruntime is too old for.

    Raises:
        SlonikError: it is; the sentence has both versions and what to do.
    """
    least = read_header(path).least_onnxruntime
    if least is not None and _numbers(installed) < _numbers(least):
        raise SlonikError(
            f"{path} needs onnxruntime {least} or newer, and {installed} is installed: "
            f'pip install "onnxruntime>={least}", or export the model again with this slonik'
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Comparable parts of a version; what follows the numbers ("rc1", "+cpu") is left out."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[^0-9.]", version)[0]))


def _fields(file: BinaryIO) -> Any:
    """(number, bytes or int) of each field of a message in a file; long ones are skipped."""
    while (tag := _varint(file)) is not None:
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            yield number, _varint(file)
        elif kind == 2:
            length = _varint(file) or 0
            if length <= _SHORT and number in (_OPSETS, _METADATA):
                yield number, file.read(length)
            else:
                file.seek(length, 1)
        elif kind in (1, 5):
            file.seek(8 if kind == 1 else 4, 1)
        else:
            raise ValueError(f"no protobuf field is of kind {kind}")


def _fields_of(content: bytes) -> Any:
    from io import BytesIO

    stream = BytesIO(content)
    while (tag := _varint(stream)) is not None:
        number, kind = tag >> 3, tag & 7
        yield number, (_varint(stream) if kind == 0 else stream.read(_varint(stream) or 0))


def _varint(file: BinaryIO | Any) -> int | None:
    """A number in base 128, lowest digits first; None at the end of the file."""
    value, shift = 0, 0
    while byte := file.read(1):
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
        shift += 7
        if shift > 63:
            raise ValueError("not a protobuf number")
    return None


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
