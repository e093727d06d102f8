"""What the matrices of a graph see: the range of every input channel over calibration texts.

Runs the fp32 graph; changes nothing. Smoothing and static quantisation read the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from slonik.exporting.graph import Graph


@dataclass(frozen=True)
class Range:
    """Lowest and highest value of each channel (K,) of one tensor, zero included."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @property
    def magnitude(self) -> NDArray[np.float32]:
        """Largest absolute value of each channel (K,)."""
        return np.maximum(-self.low, self.high)


def observe(model: onnx.ModelProto, rows: Iterable[list[int]]) -> dict[str, Range]:
    """Ranges of the inputs of all constant matrices over `rows` of token ids, one text at a time (no padding)."""
    graph = Graph(_copy(model))
    names = sorted({node.input[0] for node in graph.of_type("MatMul") if graph.constant(node.input[1]) is not None})
    watched = graph.finish()
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), providers=["CPUExecutionProvider"], sess_options=_options()
    )
    found: dict[str, Range] = {}
    for row in rows:
        ids = np.array([row], dtype=np.int64)
        values = session.run(names, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        for name, value in zip(names, values, strict=True):
            flat = np.asarray(value).reshape(-1, value.shape[-1])
            low, high = np.minimum(flat.min(axis=0), 0), np.maximum(flat.max(axis=0), 0)
            before = found.get(name)
            found[name] = Range(low, high) if before is None else _union(before, low, high)
    return found


def _union(before: Range, low: NDArray[np.float32], high: NDArray[np.float32]) -> Range:
    return Range(np.minimum(before.low, low), np.maximum(before.high, high))


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options
