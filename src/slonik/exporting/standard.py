"""The same graph in operators of the ONNX standard alone, and the least onnxruntime that reads a graph.

`fusions` and `precision` write a few operators of onnxruntime's own (domain com.microsoft), which no other engine knows
and which its older versions read otherwise. `to_standard` takes them apart again: the same weights, the same numbers,
readable by OpenVINO, by any onnxruntime and by programs that pin an old one. onnxruntime fuses the int8 products of
such a graph again while it loads it; attention it does not.

Shapes: B texts, T tokens of the queries, S of the keys, H heads of d values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from slonik.exporting.fusions import BIAS_INPUT, is_per_head
from slonik.exporting.graph import MICROSOFT, Graph, attribute

OPSET = 20
"""Of what we write; torch's exporter is asked for it, since its own choice grows with its version."""
IR_VERSION = 10
# The oldest version that knows an opset, and an IR version (https://onnxruntime.ai/docs/reference/compatibility.html).
_OPSETS = {17: "1.12.0", 18: "1.14.0", 19: "1.15.0", 20: "1.17.0", 21: "1.18.0", 22: "1.21.0", 23: "1.23.0"}
_IR_VERSIONS = {8: "1.12.0", 9: "1.15.0", 10: "1.18.0", 11: "1.21.0", 12: "1.23.0"}
_NEWEST = "1.24.0"
# Read right with heads written out (tried: 1.18.1, 1.19.2, 1.20.0, 1.21.0 and later); wrong before 1.21.1 without.
_ATTENTION, _ATTENTION_OF_SHARED_BIAS = "1.18.0", "1.21.1"
_NORM_WITHOUT_BIAS = "1.19.2"  # 1.18.1 dies while it loads one


def to_standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take every com.microsoft node of `model` apart; edits and returns it.

    Raises:
        ValueError: a node of that domain that this project does not write.
    """
    graph = Graph(model)
    for node in list(graph.nodes):
        if node.domain != MICROSOFT:
            continue
        if node.op_type == "MultiHeadAttention":
            _attention(graph, node)
        elif node.op_type in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat"):
            _product(graph, node)
        else:
            raise ValueError(f"{node.op_type} of {MICROSOFT} has no standard form here")
    graph.finish()
    domains = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in domains | {""}]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _attention(graph: Graph, node: onnx.NodeProto) -> None:
    """Queries, keys, values (B, T or S, H d) and a bias -> (B, T, H d), by two products and a softmax."""
    unread = [name for place, name in enumerate(node.input) if name and place not in (0, 1, 2, BIAS_INPUT)]
    if unread or len(node.output) > 1 or attribute(node, "unidirectional", 0):
        raise ValueError(f"{node.name} has inputs, outputs or a direction that have no standard form here: {unread}")
    heads = int(attribute(node, "num_heads"))
    scale = attribute(node, "scale")
    if scale is None:
        raise ValueError(f"{node.name} has no scale")
    output = node.output[0]
    apart = graph.add_constant("heads_apart", np.array([0, 0, heads, -1], dtype=np.int64))
    together = graph.add_constant("heads_together", np.array([0, 0, -1], dtype=np.int64))
    factor = graph.add_constant("scale", np.array(scale, dtype=np.float32))
    graph.remove(node)

    def step(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        made = graph.unique(f"{output}_{name}")
        graph.add(kind, inputs, [made], **attributes)
        return made

    query, key, value = (
        step("Reshape", [node.input[place], apart], f"{kind}_heads") for place, kind in enumerate("qkv")
    )
    query = step("Mul", [step("Transpose", [query], "q", perm=[0, 2, 1, 3]), factor], "q_scaled")
    key = step("Transpose", [key], "k", perm=[0, 2, 3, 1])
    value = step("Transpose", [value], "v", perm=[0, 2, 1, 3])
    scores = step("MatMul", [query, key], "scores")
    if len(node.input) > BIAS_INPUT and node.input[BIAS_INPUT]:
        scores = step("Add", [scores, _shared(graph, node.input[BIAS_INPUT], heads)], "biased")
    mixed = step("MatMul", [step("Softmax", [scores], "weights", axis=-1), value], "mixed")
    graph.add("Reshape", [step("Transpose", [mixed], "rows", perm=[0, 2, 1, 3]), together], [output])


def _shared(graph: Graph, bias: str, heads: int) -> str:
    """The bias before `bias_per_head` wrote its heads out, which a sum does not need."""
    before = graph.producer(bias)
    if before is None or before.op_type != "Expand" or not is_per_head(graph, bias, heads):
        return bias
    return before.input[0]


def _product(graph: Graph, node: onnx.NodeProto) -> None:
    """An int8 product with its scales and bias, as onnxruntime.quantization writes it (and onnxruntime fuses it)."""
    inputs = [*node.input, "", "", "", "", "", ""]
    output = node.output[0]
    graph.remove(node)
    if node.op_type == "DynamicQuantizeMatMul":
        source, codes, scale, zero, bias = inputs[:5]
        known = next((other for other in graph.of_type("DynamicQuantizeLinear") if other.input[0] == source), None)
        taken = list(known.output) if known is not None else [graph.unique(f"{source}_{end}") for end in _PARTS]
        if known is None:
            graph.add("DynamicQuantizeLinear", [source], taken)
    else:
        quantised, codes, source_scale, scale, source_zero, zero, bias = inputs[:7]
        taken = [quantised, source_scale, source_zero]
    whole, real, factor = (graph.unique(f"{output}_{part}") for part in ("int32", "float", "factor"))
    graph.add("MatMulInteger", [taken[0], codes, taken[2], *([zero] if zero else [])], [whole])
    graph.add("Cast", [whole], [real], to=TensorProto.FLOAT)
    graph.add("Mul", [taken[1], scale], [factor])
    product = graph.unique(f"{output}_product") if bias else output
    graph.add("Mul", [real, factor], [product])
    if bias:
        graph.add("Add", [product, bias], [output])


_PARTS = ("u8", "scale", "zero")


def least_onnxruntime(model: onnx.ModelProto) -> str:
    """The oldest onnxruntime that reads `model`, and reads it right, e.g. "1.18.0"."""
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    wanted = [_oldest(_OPSETS, opset), _oldest(_IR_VERSIONS, model.ir_version)]
    graph = Graph(model)
    for node in graph.of_type("MultiHeadAttention"):
        bias = node.input[BIAS_INPUT] if len(node.input) > BIAS_INPUT else ""
        known = not bias or is_per_head(graph, bias, int(attribute(node, "num_heads")))
        wanted.append(_ATTENTION if known else _ATTENTION_OF_SHARED_BIAS)
    if any(len(node.input) < 3 for node in graph.of_type("LayerNormalization")):
        wanted.append(_NORM_WITHOUT_BIAS)
    return max(wanted, key=_numbers)


def _oldest(table: dict[int, str], version: int) -> str:
    return next((since for known, since in sorted(table.items()) if known >= version), _NEWEST)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
