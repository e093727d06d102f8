"""An fp32 graph in reduced precision: int8 ("dynamic" or "static") and fp16.

In int8 go the constant matrices, with one scale per output channel for weights and one per tensor for activations,
and the embedding tables, with one scale per row.

"dynamic" measures each activation's range while it runs; "static" takes it from calibration texts. In both, input
channels that are far larger than the rest are first divided down (and the matrix multiplied up): in post-norm
encoders one neuron may reach 32 where the others stay under 6, and would take the resolution from all of them.
Attention itself, norms and activation functions stay in fp32.

In fp16 go weights and sums; inputs and outputs stay as they were. It is for accelerators and for disk: processors
without fp16 units run it slower, and the export says so when measured.

Sources: onnxruntime's contrib operators DynamicQuantizeMatMul and MatMulIntegerToFloat; the division of channels is
that of SmoothQuant (Xiao et al., 2023) with a cap in place of its exponent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto

from slonik.exporting.fusions import bias_of
from slonik.exporting.graph import MICROSOFT, Graph
from slonik.exporting.standard import to_standard

Scheme = Literal["dynamic", "static"]
CAP = 0.99  # channels above this quantile of magnitudes are divided down to it
# The largest channel must be this many times the quantile: a node costs 6 us, and under 4 it gains less than .0002.
WORTH_DIVIDING = 4.0
SMALLEST_MATRIX = 256
_Quantised = tuple[str, str, str]  # names of codes, scale, zero point
SMALLEST_TABLE = 1 << 18  # values; below this the three extra nodes cost more than the bytes are worth


@dataclass(frozen=True)
class Range:
    """Lowest and highest value of each channel (K,) of one tensor, zero included."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @property
    def magnitude(self) -> NDArray[np.float32]:
        """Largest absolute value of each channel (K,)."""
        return np.maximum(-self.low, self.high)


def input_ranges(model: onnx.ModelProto, rows: Iterable[list[int]]) -> dict[str, Range]:
    """Ranges of the inputs of all constant matrices over `rows` of token ids, one text at a time (no padding)."""
    ids = (np.array([row], dtype=np.int64) for row in rows)
    return ranges_of(model, ({"input_ids": row, "attention_mask": np.ones_like(row)} for row in ids))


def ranges_of(model: onnx.ModelProto, feeds: Iterable[Mapping[str, NDArray[Any]]]) -> dict[str, Range]:
    """Ranges of the inputs of all constant matrices over `feeds`, each of them all inputs of one run."""
    graph = Graph(deepcopy(model))
    names = sorted({node.input[0] for node in graph.of_type("MatMul") if graph.constant(node.input[1]) is not None})
    watched = graph.finish()
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), providers=["CPUExecutionProvider"], sess_options=options
    )
    found: dict[str, Range] = {}
    for feed in feeds:
        for name, value in zip(names, session.run(names, dict(feed)), strict=True):
            flat = np.asarray(value).reshape(-1, value.shape[-1])
            low, high = np.minimum(flat.min(axis=0), 0), np.maximum(flat.max(axis=0), 0)
            before = found.get(name, Range(low, high))
            found[name] = Range(np.minimum(before.low, low), np.maximum(before.high, high))
    return found


@dataclass(frozen=True)
class InCodes:
    """Names of the constants that stand for a matrix (K, N) or a table (V, D) of the fp32 graph.

    Attributes:
        codes: int8, of its shape.
        scales: a factor per column of a matrix, per row of a table.
        divisors: (K,), what the rows of a matrix are multiplied by after that; None = nothing.
    """

    codes: str
    scales: str
    divisors: str | None = None


def quantise(
    model: onnx.ModelProto,
    scheme: Scheme,
    ranges: Mapping[str, Range],
    *,
    cap: float = CAP,
    found: dict[str, InCodes] | None = None,
) -> dict[str, int]:
    """Turn matrices and tables of `model` into int8, in place.

    Args:
        ranges: of every matrix input, from `input_ranges` on this same graph; "static" needs all of them.
        cap: quantile for dividing channels down; 1.0 switches that off.
        found: is told, for each constant of the fp32 graph that went, what stands for it.

    Returns:
        Counts: matrices, smoothed inputs, tables.
    """
    graph = Graph(model)
    places: dict[str, InCodes] = {} if found is None else found
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.of_type("MatMul"):
        weight = graph.constant(node.input[1])
        if weight is not None and weight.ndim == 2 and weight.size >= SMALLEST_MATRIX:
            readers.setdefault(node.input[0], []).append(node)
    smoothed = 0
    for source, nodes in readers.items():
        factors = factors_of(ranges.get(source), cap)
        source_range = ranges.get(source)
        name, divisors = source, None
        if factors is not None:
            smoothed += 1
            name = graph.unique(f"{source}_smooth")
            divisors = graph.add_constant(f"{source}_divisor", 1 / factors)
            graph.add("Mul", [source, divisors], [name])
            if source_range is not None:
                source_range = Range(source_range.low / factors, source_range.high / factors)
        if scheme == "static":
            shared: _Quantised | None = _static_input(graph, name, source_range)
        else:
            shared = _dynamic_input(graph, name) if len(nodes) > 1 else None
        for node in nodes:
            codes, scales = _replace(graph, node, name, factors, shared)
            places[node.input[1]] = InCodes(codes, scales, divisors)
    tables = quantise_tables(graph, found=places)
    matrices = sum(len(nodes) for nodes in readers.values())
    graph.finish()
    return {"matrices": matrices, "smoothed": smoothed, "tables": tables}


def codes_of(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes (K, N) and scales (1, N), or (K, 1) along axis 1: `codes * scales` is within half a step of `values`.

    A column (row) of zeros stays zero.
    """
    scales = np.abs(values).max(axis=axis, keepdims=True).astype(np.float32) / np.float32(127)
    steps = np.where(scales > 0, scales, np.float32(1))
    return np.rint(values / steps).astype(np.int8), steps


def factors_of(found: Range | None, cap: float) -> NDArray[np.float32] | None:
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
) -> tuple[str, str]:
    """Put the int8 product in place of `node` and of the bias Add behind it; returns the names of codes and scales."""
    weight = graph.constant(node.input[1])
    assert weight is not None
    codes, scales = codes_of(weight if factors is None else weight * factors[:, None], axis=0)
    label = node.input[1]
    code_name = graph.add_constant(f"{label}_s8", codes)
    scale_name = graph.add_constant(f"{label}_scale", scales[0])
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
    return code_name, scale_name


def quantise_tables(graph: Graph, *, smallest: int | None = None, found: dict[str, InCodes] | None = None) -> int:
    """Replace every Gather from a large constant float table (V, D); returns how many were replaced.

    A table row is read as it is, so each token keeps its own resolution; one scale for the whole table, as the stock
    tool does it, would give rare tokens a handful of levels.

    Gather(table, ids) becomes Cast(Gather(int8 table, ids)) * Gather(scales (V, 1), ids).

    Args:
        smallest: values of a table from which on it is worth it; None = `SMALLEST_TABLE`.
        found: is told what stands for each table.
    """
    replaced, least = 0, SMALLEST_TABLE if smallest is None else smallest
    for node in graph.of_type("Gather"):
        table = graph.constant(node.input[0])
        first_axis = all(item.i == 0 for item in node.attribute if item.name == "axis")
        if table is None or table.dtype != np.float32 or table.ndim != 2 or table.size < least or not first_axis:
            continue
        codes, scales = codes_of(table, axis=1)
        name, ids = node.input[0], node.input[1]
        graph.remove(node)
        taken, cast, factor = (
            graph.unique(f"{name}_{part}") for part in ("codes_taken", "codes_float", "scales_taken")
        )
        stored = InCodes(graph.add_constant(f"{name}_codes", codes), graph.add_constant(f"{name}_scales", scales))
        graph.add("Gather", [stored.codes, ids], [taken], axis=0)
        graph.add("Cast", [taken], [cast], to=TensorProto.FLOAT)
        graph.add("Gather", [stored.scales, ids], [factor], axis=0)
        if found is not None:
            found[name] = stored
        graph.add("Mul", [cast, factor], [node.output[0]])
        replaced += 1
    return replaced


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in fp16 and in standard operators; inputs and outputs stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    half: onnx.ModelProto = convert_float_to_float16(
        to_standard(deepcopy(model)), keep_io_types=True, disable_shape_infer=False
    )
    return half
