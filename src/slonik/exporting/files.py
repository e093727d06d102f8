"""ONNX files of an export: their names, what they say of themselves, and writing them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from slonik.models import TorchEncoder
from slonik.runtime.session import METADATA_KEY

FILES = {"fp32": "model.onnx", "int8": "model_quantized.onnx", "fp16": "model_fp16.onnx"}
_PROTOBUF_LIMIT = 1_900_000_000  # bytes; larger files keep their weights in a second file


def write_graph(model: onnx.ModelProto, path: Path, metadata: Mapping[str, Any]) -> int:
    """Write `model`, whose metadata become these; returns the bytes of the file (and of its external data)."""
    path.parent.mkdir(exist_ok=True)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata, ensure_ascii=False)})
    large = model.ByteSize() > _PROTOBUF_LIMIT
    onnx.save(model, path, save_as_external_data=large, location=f"{path.name}_data" if large else None)
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def facts_of(encoder: TorchEncoder) -> dict[str, Any]:
    """What a file says of the encoder that it was made from."""
    plain = str | int | float | bool | list | tuple | None
    told = encoder.describe().items()
    return {k: v for k, v in told if k not in ("name", "bytes", "dtype") and isinstance(v, plain)}
