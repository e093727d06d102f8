"""Each rewrite of a graph against the graph before it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slonik.exporting.fusions import keep_layer_norm, merge_projections, unfold_gemm
from slonik.exporting.graph import Graph
from slonik.exporting.precision import Range, codes_of, quantise, quantise_tables

_RNG = np.random.default_rng(0)


def _model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], width: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def _three_projections() -> onnx.ModelProto:
    constants: dict[str, np.ndarray] = {}
    nodes = []
    for name, width in (("q", 6), ("k", 6), ("v", 6)):
        constants[f"w{name}"] = _RNG.normal(size=(8, width)).astype(np.float32)
        constants[f"b{name}"] = _RNG.normal(size=width).astype(np.float32)
        nodes.append(helper.make_node("MatMul", ["x", f"w{name}"], [f"m{name}"]))
        nodes.append(helper.make_node("Add", [f"m{name}", f"b{name}"], [f"a{name}"]))
    nodes.append(helper.make_node("Mul", ["aq", "ak"], ["qk"]))
    nodes.append(helper.make_node("Sub", ["qk", "av"], ["y"]))
    return _model(nodes, constants, 8)


def test_merged_projections_compute_the_same() -> None:
    model = _three_projections()
    x = _RNG.normal(size=(5, 8)).astype(np.float32)
    expected = _run(model, x)
    graph = Graph(model)
    merge_projections(graph)
    merged = graph.finish()
    assert [node.op_type for node in merged.graph.node].count("MatMul") == 1
    assert np.allclose(_run(merged, x), expected, atol=1e-6)


def test_gemm_becomes_a_product_and_a_sum() -> None:
    weight = _RNG.normal(size=(6, 8)).astype(np.float32)
    bias = _RNG.normal(size=6).astype(np.float32)
    model = _model([helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"w": weight, "b": bias}, 8)
    x = _RNG.normal(size=(5, 8)).astype(np.float32)
    expected = _run(model, x)
    graph = Graph(model)
    unfold_gemm(graph)
    unfolded = graph.finish()
    assert {node.op_type for node in unfolded.graph.node} == {"MatMul", "Add"}
    assert np.allclose(_run(unfolded, x), expected, atol=1e-6)


def test_residual_before_a_norm_is_kept_from_the_slow_fusion() -> None:
    constants = {"g": np.ones(8, np.float32), "b": np.zeros(8, np.float32)}
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Add", ["x", "r"], ["s"]),
        helper.make_node("LayerNormalization", ["s", "g", "b"], ["y"]),
    ]
    model = _model(nodes, constants, 8)
    x = _RNG.normal(size=(5, 8)).astype(np.float32)
    expected = _run(model, x)
    graph = Graph(model)
    keep_layer_norm(graph)
    kept = graph.finish()
    assert "Sum" in [node.op_type for node in kept.graph.node]
    assert np.allclose(_run(kept, x), expected)


def test_rows_and_channels_are_within_half_a_step() -> None:
    values = (_RNG.normal(size=(40, 16)) * _RNG.uniform(0.01, 10, size=(40, 1))).astype(np.float32)
    values[3] = 0
    codes, scales = codes_of(values, axis=1)
    assert np.all(np.abs(codes * scales - values) <= scales / 2 + 1e-7)
    assert np.all(codes[3] * scales[3] == 0)
    codes, steps = codes_of(values, axis=0)
    assert np.all(np.abs(codes * steps - values) <= steps / 2 + 1e-7)


def test_tables_are_read_by_rows_and_small_ones_are_left() -> None:
    table = _RNG.normal(size=(50, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["t", "ids"], ["y"]),
    ]
    model = _model(nodes, {"t": table}, 4)
    x = np.array([[0, 3, 49, 7]], dtype=np.float32)
    assert quantise_tables(Graph(model), smallest=10_000) == 0
    graph = Graph(model)
    assert quantise_tables(graph, smallest=1) == 1
    found = _run(graph.finish(), x)
    assert np.abs(found - table[[0, 3, 49, 7]]).max() <= np.abs(table).max() / 127


def _outlier_model() -> tuple[onnx.ModelProto, np.ndarray, dict[str, Range]]:
    weight = _RNG.normal(size=(256, 16)).astype(np.float32)
    bias = _RNG.normal(size=16).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])]
    x = _RNG.normal(size=(20, 256)).astype(np.float32)
    x[:, 5] *= 60
    ranges = {"x": Range(np.minimum(x.min(0), 0), np.maximum(x.max(0), 0))}
    return _model(nodes, {"w": weight, "b": bias}, 256), x, ranges


@pytest.mark.parametrize("scheme", ["dynamic", "static"])
def test_dividing_large_channels_down_makes_the_product_more_exact(scheme: str) -> None:
    model, x, ranges = _outlier_model()
    expected = _run(model, x)
    errors = {}
    for cap in (1.0, 0.99):
        copied = onnx.ModelProto()
        copied.CopyFrom(model)
        counts = quantise(copied, scheme, ranges, cap=cap)  # type: ignore[arg-type]
        assert counts["matrices"] == 1
        assert counts["smoothed"] == (cap < 1)
        errors[cap] = float(np.abs(_run(copied, x) - expected).mean())
    assert errors[0.99] < errors[1.0] / 3


def test_static_products_do_not_depend_on_the_rest_of_the_batch() -> None:
    model, x, ranges = _outlier_model()
    quantise(model, "static", ranges)
    assert np.array_equal(_run(model, x)[:3], _run(model, x[:3]))


def test_a_missing_producer_is_noticed() -> None:
    model = _three_projections()
    graph = Graph(model)
    graph.remove(next(graph.of_type("Sub")))
    graph.add("Relu", ["nowhere"], ["y"])
    with pytest.raises(ValueError, match="nowhere"):
        graph.finish()
