"""Constant matrices in int8: one scale per output channel for weights, one per tensor for activations.

"dynamic" measures each activation's range while it runs; "static" takes it from calibration texts. In both, input
channels that are far larger than the rest are first divided down (and the matrix multiplied up): in post-norm
encoders one neuron may reach 32 where the others stay under 6, and would take the resolution from all of them.
Attention itself, norms and activation functions stay in fp32.

Sources: onnxruntime's contrib operators DynamicQuantizeMatMul and MatMulIntegerToFloat; the division of channels is
that of SmoothQuant (Xiao et al., 2023) with a cap in place of its exponent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from slonik.exporting.fusions import bias_of
from slonik.exporting.graph import MICROSOFT, Graph
from slonik.exporting.ranges import Range
from slonik.exporting.tables import quantise_tables

Scheme = Literal["dynamic", "static"]
CAP = 0.99  # channels above this quantile of magnitudes are divided down to it
# The largest channel must be this many times the quantile: a node costs 6 us, and under 4 it gains less than .0002.
WORTH_DIVIDING = 4.0
_SMALLEST_MATRIX = 256
_Quantised = tuple[str, str, str]  # names of codes, scale, zero point


def quantise(
    model: onnx.ModelProto, scheme: Scheme, ranges: Mapping[str, Range], *, cap: float = CAP
) -> dict[str, int]:
    """Turn matrices and tables of `model` into int8, in place.

    Args:
        ranges: of every matrix input, from `ranges.observe` on this same graph; "static" needs all of them.
        cap: quantile for dividing channels down; 1.0 switches that off.

    Returns:
        Counts: matrices, smoothed inputs, tables.
    """
    graph = Graph(model)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.of_type("MatMul"):
        weight = graph.constant(node.input[1])
        if weight is not None and weight.ndim == 2 and weight.size >= _SMALLEST_MATRIX:
            readers.setdefault(node.input[0], []).append(node)
    smoothed = 0
    for source, nodes in readers.items():
        factors = _factors(ranges.get(source), cap)
        source_range = ranges.get(source)
        name = source
        if factors is not None:
            smoothed += 1
            name = graph.unique(f"{source}_smooth")
            graph.add("Mul", [source, graph.add_constant(f"{source}_divisor", 1 / factors)], [name])
            if source_range is not None:
                source_range = Range(source_range.low / factors, source_range.high / factors)
        if scheme == "static":
            shared: _Quantised | None = _static_input(graph, name, source_range)
        else:
            shared = _dynamic_input(graph, name) if len(nodes) > 1 else None
        for node in nodes:
            _replace(graph, node, name, factors, shared)
    tables = quantise_tables(graph)
    matrices = sum(len(nodes) for nodes in readers.values())
    graph.finish()
    return {"matrices": matrices, "smoothed": smoothed, "tables": tables}


def per_channel(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes (K, N) and scales (N,) with `codes * scales` within half a step of `weight`."""
    scales = (np.abs(weight).max(axis=0) / 127).astype(np.float32)
    steps = np.where(scales > 0, scales, np.float32(1))
    return np.rint(weight / steps).astype(np.int8), steps


def _factors(found: Range | None, cap: float) -> NDArray[np.float32] | None:
    """What to divide each channel by (at least 1), None where it is not worth a node."""
    if found is None or cap >= 1:
        return None
    magnitude = found.magnitude
    level = max(float(np.quantile(magnitude, cap)), 1e-6)
    if magnitude.max() < WORTH_DIVIDING * level:
        return None
    return np.maximum(magnitude / level, 1).astype(np.float32)


def _dynamic_input(graph: Graph, name: str) -> _Quantised:
    outputs = (graph.unique(f"{name}_u8"), graph.unique(f"{name}_scale"), graph.unique(f"{name}_zero"))
    graph.add("DynamicQuantizeLinear", [name], list(outputs))
    return outputs


def _static_input(graph: Graph, name: str, found: Range | None) -> _Quantised:
    if found is None:
        raise ValueError(f"static quantisation needs the range of {name}")
    low, high = float(found.low.min()), float(found.high.max())
    scale = max((high - low) / 255, 1e-12)
    zero = int(np.clip(round(-low / scale), 0, 255))
    codes = graph.unique(f"{name}_u8")
    scale_name = graph.add_constant(f"{name}_scale", np.array(scale, dtype=np.float32))
    zero_name = graph.add_constant(f"{name}_zero", np.array(zero, dtype=np.uint8))
    graph.add("QuantizeLinear", [name, scale_name, zero_name], [codes])
    return codes, scale_name, zero_name


def _replace(
    graph: Graph, node: onnx.NodeProto, source: str, factors: NDArray[np.float32] | None, shared: _Quantised | None
) -> None:
    """Put the int8 product in place of `node` and of the bias Add behind it."""
    weight = graph.constant(node.input[1])
    assert weight is not None
    codes, scales = per_channel(weight if factors is None else weight * factors[:, None])
    label = node.input[1]
    code_name = graph.add_constant(f"{label}_s8", codes)
    scale_name = graph.add_constant(f"{label}_scale", scales)
    bias = bias_of(graph, node)
    output, bias_name = node.output[0], ""
    if bias is not None:
        bias_name = next(name for name in bias.input if graph.constant(name) is not None)
        output = bias.output[0]
        graph.remove(bias)
    graph.remove(node)
    if shared is None:
        inputs = [source, code_name, scale_name, "", bias_name]
        graph.add("DynamicQuantizeMatMul", inputs, [output], domain=MICROSOFT)
    else:
        inputs = [shared[0], code_name, shared[1], scale_name, shared[2], "", bias_name]
        graph.add("MatMulIntegerToFloat", inputs, [output], domain=MICROSOFT)
