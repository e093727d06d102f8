"""ONNX files of an export: their names, what they say of themselves, and writing them.

`model.onnx`, the file that most clients take where nobody says which, holds standard operators alone. So does
`model_fp16.onnx`; `model_quantized.onnx` has onnxruntime's fused attention and int8 products unless it is asked not to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import onnx

from slonik.exporting.graph import MICROSOFT
from slonik.exporting.standard import IR_VERSION, least_onnxruntime, to_standard
from slonik.models import TorchEncoder
from slonik.runtime.onnx_header import LEAST_KEY, METADATA_KEY

FILES = {"fp32": "model.onnx", "int8": "model_quantized.onnx", "fp16": "model_fp16.onnx"}
_PROTOBUF_LIMIT = 1_900_000_000  # bytes; larger files keep their weights in a second file


def write_graph(model: onnx.ModelProto, path: Path, metadata: Mapping[str, Any], *, fused: bool = False) -> int:
    """Write `model`; returns the bytes of the file (and of its external data).

    Args:
        metadata: what the file is to say of itself; the least onnxruntime that reads it right is added.
        fused: leave onnxruntime's own operators in; without it a copy is written that has standard ones alone.
    """
    path.parent.mkdir(exist_ok=True)
    if not fused and any(node.domain == MICROSOFT for node in model.graph.node):
        model = to_standard(deepcopy(model))
    model.ir_version = IR_VERSION
    del model.metadata_props[:]
    said = {**metadata, LEAST_KEY: least_onnxruntime(model)}
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(said, ensure_ascii=False)})
    large = model.ByteSize() > _PROTOBUF_LIMIT
    onnx.save(model, path, save_as_external_data=large, location=f"{path.name}_data" if large else None)
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def facts_of(encoder: TorchEncoder) -> dict[str, Any]:
    """What a file says of the encoder that it was made from."""
    plain = str | int | float | bool | list | tuple | None
    told = encoder.describe().items()
    return {k: v for k, v in told if k not in ("name", "bytes", "dtype") and isinstance(v, plain)}
