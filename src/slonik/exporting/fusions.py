"""Rewrites of the fp32 graph that keep its meaning and make it faster on onnxruntime's CPU kernels.

What onnxruntime fuses by itself at load time is left to it. Measured reasons (1 thread, Zen 4, 29 tokens, D = 384)
stand beside each pass; docs/runtime.md has the whole table.
"""

from __future__ import annotations

import numpy as np
import onnx

from slonik.exporting.graph import MICROSOFT, Graph, attribute

BIAS_INPUT = 5
"""Where a MultiHeadAttention node has its additive bias."""


def optimise(model: onnx.ModelProto) -> onnx.ModelProto:
    """All passes, in order; edits and returns `model`."""
    graph = Graph(model)
    unfold_gemm(graph)
    drop_reshapes(graph)
    merge_projections(graph)
    keep_layer_norm(graph)
    bias_per_head(graph)
    return graph.finish()


def unfold_gemm(graph: Graph) -> None:
    """Gemm with a constant matrix becomes MatMul + Add, the one form that the other passes look for."""
    for node in graph.of_type("Gemm"):
        weight = graph.constant(node.input[1])
        plain = not attribute(node, "transA", 0) and attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1
        if weight is None or weight.ndim != 2 or not plain:
            continue
        if attribute(node, "transB", 0):
            weight = weight.T
        name = graph.add_constant(f"{node.input[1]}_kn", weight)
        graph.remove(node)
        if len(node.input) == 3 and node.input[2]:
            product = graph.unique(f"{node.output[0]}_product")
            graph.add("MatMul", [node.input[0], name], [product])
            graph.add("Add", [product, node.input[2]], [node.output[0]])
        else:
            graph.add("MatMul", [node.input[0], name], [node.output[0]])


def drop_reshapes(graph: Graph) -> None:
    """Remove chains of reshapes that end in the shape they began with: heads split off and folded back."""
    for node in graph.of_type("Reshape"):
        source = node.input[0]
        while (before := graph.producer(source)) is not None and before.op_type == "Reshape":
            source = before.input[0]
        if graph.is_output(node.output[0]):
            continue
        shape = graph.shape(node.output[0])
        if shape is not None and "?" not in shape and graph.shape(source) == shape:
            graph.rewire(node.output[0], source)
            graph.remove(node)


def merge_projections(graph: Graph) -> None:
    """Several matrices applied to one input (query, key, value) become one matrix and a Split.

    The int8 kernels gain from the wider product, and its input is quantised inside that same node.
    """
    groups: dict[tuple[str, bool], list[tuple[onnx.NodeProto, onnx.NodeProto | None]]] = {}
    for node in graph.of_type("MatMul"):
        weight = graph.constant(node.input[1])
        if weight is not None and weight.ndim == 2:
            bias = bias_of(graph, node)
            groups.setdefault((node.input[0], bias is not None), []).append((node, bias))
    for (source, biased), members in groups.items():
        if len(members) > 1 and not any(graph.is_output(node.output[0]) for node, _ in members):
            _merge(graph, source, biased, members)


def _merge(
    graph: Graph, source: str, biased: bool, members: list[tuple[onnx.NodeProto, onnx.NodeProto | None]]
) -> None:
    weights = [graph.constant(node.input[1]) for node, _ in members]
    first = members[0][0]
    weight = graph.add_constant(f"{first.input[1]}_merged", np.concatenate(weights, axis=1))  # type: ignore[arg-type]
    product = graph.unique(f"{first.output[0]}_merged")
    graph.add("MatMul", [source, weight], [product])
    outputs = [node.output[0] for node, _ in members]
    if biased:
        biases = [_bias_value(graph, add) for _, add in members if add is not None]
        bias = graph.add_constant(f"{first.input[1]}_merged_bias", np.concatenate(biases))
        summed = graph.unique(f"{product}_biased")
        graph.add("Add", [product, bias], [summed])
        product = summed
        outputs = [add.output[0] for _, add in members if add is not None]
    sizes = graph.add_constant("split_sizes", np.array([w.shape[1] for w in weights if w is not None], dtype=np.int64))
    for node, add in members:
        graph.remove(node)
        if add is not None:
            graph.remove(add)
    graph.add("Split", [product, sizes], outputs, axis=-1)


def bias_of(graph: Graph, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """The Add of a constant vector that is the only reader of a MatMul, None where there is none."""
    readers = graph.consumers(node.output[0])
    if len(readers) != 1 or readers[0].op_type != "Add" or graph.is_output(node.output[0]):
        return None
    value = _bias_value(graph, readers[0])
    weight = graph.constant(node.input[1])
    fits = value is not None and weight is not None and value.shape == (weight.shape[1],)
    return readers[0] if fits else None


def _bias_value(graph: Graph, add: onnx.NodeProto) -> np.ndarray:
    values = [graph.constant(name) for name in add.input]
    return next((value for value in values if value is not None), np.zeros(0))


def keep_layer_norm(graph: Graph) -> None:
    """Residual Add before LayerNormalization becomes Sum, which onnxruntime does not fuse into SkipLayerNormalization.

    Its SkipLayerNormalization kernel takes 55 us where Add and LayerNormalization together take 8.
    """
    for node in graph.of_type("LayerNormalization"):
        add = graph.producer(node.input[0])
        if add is None or add.op_type != "Add" or any(graph.constant(name) is not None for name in add.input):
            continue
        graph.remove(add)
        graph.add("Sum", list(add.input), list(add.output))


def bias_per_head(graph: Graph) -> None:
    """The bias of attention gets its heads written out: (B or 1, 1, T, T) becomes (B or 1, H, T, T), once per bias.

    onnxruntime 1.20.0 to 1.21.0 read a bias that is shared by the heads wrongly for every text of a batch but the first
    (mended in 1.21.1 by https://github.com/microsoft/onnxruntime/pull/24017), and 1.18 and 1.19 refuse it. All of
    them are right with one bias per head, which costs nothing that can be measured (docs/runtime.md).
    """
    written: dict[tuple[str, int], str] = {}
    for node in graph.of_type("MultiHeadAttention"):
        bias = node.input[BIAS_INPUT] if node.domain == MICROSOFT and len(node.input) > BIAS_INPUT else ""
        heads = int(attribute(node, "num_heads"))
        if not bias or is_per_head(graph, bias, heads):
            continue
        if (bias, heads) not in written:
            shape = graph.add_constant("bias_heads", np.array([1, heads, 1, 1], dtype=np.int64))
            written[bias, heads] = graph.unique(f"{bias}_per_head")
            graph.add("Expand", [bias, shape], [written[bias, heads]])
        node.input[BIAS_INPUT] = written[bias, heads]


def is_per_head(graph: Graph, bias: str, heads: int) -> bool:
    """Whether `bias` has a dimension of `heads`, by its known shape or because `bias_per_head` wrote it."""
    if (graph.shape(bias) or (0, 0))[1:2] == (heads,):
        return True
    before = graph.producer(bias)
    shape = graph.constant(before.input[1]) if before is not None and before.op_type == "Expand" else None
    return shape is not None and shape.tolist() == [1, heads, 1, 1]
