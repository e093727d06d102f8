"""An fp32 graph of a model that writes in int8: matrices by a scale per output channel, activations by one per token.

A scale per token (token-wise quantisation, Yao et al. 2022, ZeroQuant, section 4.1), measured while it runs, makes what
is written for a prompt independent of what else is in the batch: a scale per tensor, as encoders have it, would not.
Standard operators alone (MatMulInteger), so that any client runs it. Input channels that are far larger than the rest
are divided down first, as in `slonik.exporting.precision`. Attention, norms and activation functions stay in fp32.

A head that is tied to the embeddings shares its codes with them: the table is stored once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from slonik.exporting.fusions import bias_of
from slonik.exporting.graph import Graph, attribute
from slonik.exporting.precision import CAP, SMALLEST_MATRIX, Range, codes_of, factors_of

_ZERO = 128  # the code of 0 in an activation: codes of eight bits without sign are what the fast kernels take
_LEAST = 1e-12  # a token of zeros has a scale too


def quantise_tokenwise(model: onnx.ModelProto, ranges: Mapping[str, Range], *, cap: float = CAP) -> dict[str, int]:
    """Turn matrices and tables of `model` into int8, in place.

    Args:
        ranges: of matrix inputs, from `precision.ranges_of` on this same graph.
        cap: quantile for dividing channels down; 1.0 switches that off.

    Returns:
        Counts: matrices, smoothed inputs, tables.
    """
    graph = Graph(model)
    tables = _Tables(graph)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.of_type("MatMul"):
        weight, _ = _weight(graph, node)
        if weight is not None and weight.size >= SMALLEST_MATRIX:
            readers.setdefault(node.input[0], []).append(node)
    smoothed = 0
    for source, nodes in readers.items():
        tied = any(_weight(graph, node)[1] for node in nodes)  # its codes are the embeddings', and stay as they are
        factors = None if tied else factors_of(ranges.get(source), cap)
        name = source
        if factors is not None:
            smoothed += 1
            name = graph.unique(f"{source}_smooth")
            graph.add("Mul", [source, graph.add_constant(f"{source}_divisor", 1 / factors)], [name])
        codes, scale = _token_codes(graph, name)
        for node in nodes:
            _replace(graph, tables, node, codes, scale, factors)
    gathered = tables.gathers()
    graph.finish()
    return {"matrices": sum(map(len, readers.values())), "smoothed": smoothed, "tables": gathered}


class _Tables:
    """Tables (V, D) in codes with a scale per row, each made once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._made: dict[str, tuple[str, NDArray[np.float32]]] = {}

    def codes(self, name: str) -> tuple[str, NDArray[np.float32]]:
        """The name of a table's codes, and its scales (V, 1)."""
        if name not in self._made:
            table = self._graph.constant(name)
            assert table is not None
            codes, scales = codes_of(table, axis=1)
            self._made[name] = (self._graph.add_constant(f"{name}_codes", codes), scales)
        return self._made[name]

    def gathers(self) -> int:
        """Let every Gather from a large table, or from one that a head has in codes, read codes."""
        graph, count = self._graph, 0
        for node in graph.of_type("Gather"):
            table = graph.constant(node.input[0])
            if table is None or table.ndim != 2 or table.dtype != np.float32 or attribute(node, "axis", 0) != 0:
                continue
            if node.input[0] not in self._made and table.size < SMALLEST_MATRIX * 64:
                continue
            codes, scales = self.codes(node.input[0])
            graph.remove(node)
            taken, cast, factor = (graph.unique(f"{node.output[0]}_{part}") for part in ("codes", "float", "scale"))
            graph.add("Gather", [codes, node.input[1]], [taken], axis=0)
            graph.add("Cast", [taken], [cast], to=TensorProto.FLOAT)
            graph.add("Gather", [graph.add_constant(f"{codes}_scales", scales), node.input[1]], [factor], axis=0)
            graph.add("Mul", [cast, factor], [node.output[0]])
            count += 1
        return count


def _weight(graph: Graph, node: onnx.NodeProto) -> tuple[NDArray[np.float32] | None, str]:
    """The constant matrix (K, N) of a product, and the table (N, K) that it is the transpose of, else ""."""
    weight = graph.constant(node.input[1])
    if weight is not None:
        return (weight, "") if weight.ndim == 2 else (None, "")
    before = graph.producer(node.input[1])
    if before is None or before.op_type != "Transpose":
        return None, ""
    table = graph.constant(before.input[0])
    return (table.T, before.input[0]) if table is not None and table.ndim == 2 else (None, "")


def _token_codes(graph: Graph, source: str) -> tuple[str, str]:
    """Codes (..., K) of an activation and their scales (..., 1)."""

    def add(kind: str, inputs: list[str], part: str, **attributes: Any) -> str:
        output = graph.unique(f"{source}_{part}")
        graph.add(kind, inputs, [output], **attributes)
        return output

    def constant(part: str, value: float, dtype: type = np.float32) -> str:
        return graph.add_constant(f"{source}_{part}", np.array(value, dtype=dtype))

    axis = graph.add_constant("last_axis", np.array([-1]))
    largest = add("ReduceMax", [add("Abs", [source], "size"), axis], "largest")
    scale = add("Max", [add("Mul", [largest, constant("step", 1 / 127)], "steps"), constant("least", _LEAST)], "scale")
    steps = add("Round", [add("Div", [source, scale], "divided")], "rounded")
    codes = add("Cast", [add("Add", [steps, constant("zero", _ZERO)], "moved")], "codes", to=TensorProto.UINT8)
    return codes, scale


def _replace(
    graph: Graph,
    tables: _Tables,
    node: onnx.NodeProto,
    codes: str,
    scale: str,
    factors: NDArray[np.float32] | None,
) -> None:
    """Put the int8 product in place of `node` and of the bias Add behind it."""
    weight, table = _weight(graph, node)
    assert weight is not None
    if table:
        stored, scales = tables.codes(table)
        matrix = graph.unique(f"{stored}_turned")
        graph.add("Transpose", [stored], [matrix], perm=[1, 0])
        scales = scales.T
    else:
        label = node.input[1]
        values, scales = codes_of(weight if factors is None else weight * factors[:, None], axis=0)
        matrix = graph.add_constant(f"{label}_codes", values)
    add = bias_of(graph, node)
    output = node.output[0]
    product, floats, scaled = (graph.unique(f"{output}_{part}") for part in ("codes", "float", "scaled"))
    zero = graph.add_constant(f"{output}_zero", np.array(_ZERO, dtype=np.uint8))
    graph.remove(node)
    graph.add("MatMulInteger", [codes, matrix, zero], [product])
    graph.add("Cast", [product], [floats], to=TensorProto.FLOAT)
    graph.add("Mul", [floats, graph.add_constant(f"{output}_scales", scales.reshape(-1))], [scaled])
    if add is None:
        graph.add("Mul", [scaled, scale], [output])
        return
    bias = next(name for name in add.input if name != output)
    graph.remove(add)
    summed = graph.unique(f"{output}_summed")
    graph.add("Mul", [scaled, scale], [summed])
    graph.add("Add", [summed, bias], [add.output[0]])
