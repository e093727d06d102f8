"""Embedding tables in int8, one scale per row.

A table row is read as it is, so each piece keeps its own resolution; one scale for the whole table, as the stock
tool does it, would give rare pieces a handful of levels.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from slonik.exporting.graph import Graph

SMALLEST = 1 << 18  # values; below this the three extra nodes cost more than the bytes are worth


def quantise_tables(graph: Graph, *, smallest: int = SMALLEST) -> int:
    """Replace every Gather from a large constant float table (V, D); returns how many were replaced.

    Gather(table, ids) becomes Cast(Gather(int8 table, ids)) * Gather(scales (V, 1), ids).
    """
    replaced = 0
    for node in graph.of_type("Gather"):
        table = graph.constant(node.input[0])
        first_axis = all(item.i == 0 for item in node.attribute if item.name == "axis")
        if table is None or table.dtype != np.float32 or table.ndim != 2 or table.size < smallest or not first_axis:
            continue
        codes, scales = by_rows(table)
        _replace(graph, node, codes, scales)
        replaced += 1
    return replaced


def by_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes (V, D) and scales (V, 1) with `codes * scales` within half a step of `table`; a zero row stays zero."""
    scales = np.abs(table).max(axis=1, keepdims=True).astype(np.float32) / np.float32(127)
    steps = np.where(scales > 0, scales, np.float32(1))
    codes = np.rint(table / steps).astype(np.int8)
    return codes, scales


def _replace(graph: Graph, node: onnx.NodeProto, codes: NDArray[np.int8], scales: NDArray[np.float32]) -> None:
    name, ids = node.input[0], node.input[1]
    graph.remove(node)
    taken = graph.unique(f"{name}_codes_taken")
    cast = graph.unique(f"{name}_codes_float")
    factor = graph.unique(f"{name}_scales_taken")
    graph.add("Gather", [graph.add_constant(f"{name}_codes", codes), ids], [taken], axis=0)
    graph.add("Cast", [taken], [cast], to=TensorProto.FLOAT)
    graph.add("Gather", [graph.add_constant(f"{name}_scales", scales), ids], [factor], axis=0)
    graph.add("Mul", [cast, factor], [node.output[0]])
