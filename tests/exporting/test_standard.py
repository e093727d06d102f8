"""Standard operators give what fused ones give and name no engine; a file names the onnxruntime that it needs."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from slonik.exporting.fusions import BIAS_INPUT, bias_per_head, optimise
from slonik.exporting.graph import MICROSOFT, Graph, attribute
from slonik.exporting.precision import input_ranges, quantise
from slonik.exporting.run import export
from slonik.exporting.standard import IR_VERSION, OPSET, least_onnxruntime, to_standard
from slonik.exporting.torch_graph import SentenceGraph, part_to_export, to_onnx
from slonik.models import load
from slonik.runtime.onnx_header import read_header
from slonik.text.sentence_config import SentenceConfig
from tests import tiny
from tests.exporting.exported import checkpoint, exported

FAMILIES = ("bert", "modernbert", "gpt2", "t5")


def _batch(vocabulary: int = 200) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(5, vocabulary, (3, 23)), np.ones((3, 23), dtype=np.int64)
    mask[1, 9:] = mask[2, 2:] = 0
    return {"input_ids": np.where(mask, ids, 1), "attention_mask": mask}


def _run(model: onnx.ModelProto) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, _batch())


@pytest.fixture(scope="module", params=FAMILIES)
def fused(request: pytest.FixtureRequest) -> onnx.ModelProto:
    """The fp32 graph of a family as it is before it is written, of models that other tests export too."""
    return optimise(_graph(request.param))


def _graph(family: str) -> onnx.ModelProto:
    if family in ("gpt2", "t5"):
        graph, longest = SentenceGraph(part_to_export(tiny.model(family, layers=1), family), SentenceConfig()), 64
    else:
        encoder = load(checkpoint(family), device="cpu")
        graph, longest = SentenceGraph(encoder.model, encoder.sentence), encoder.max_length
    return to_onnx(graph.eval(), longest)


def test_standard_graph_gives_what_the_fused_one_gives(fused: onnx.ModelProto) -> None:
    standard = to_standard(deepcopy(fused))
    assert {node.domain for node in standard.graph.node} == {""}
    assert [opset.domain for opset in standard.opset_import] == [""]
    onnx.checker.check_model(standard)
    for left, right in zip(_run(fused), _run(standard), strict=True):
        assert np.abs(left - right).max() < 1e-5


@pytest.mark.parametrize("scheme", ["dynamic", "static"])
def test_standard_int8_graph_gives_what_the_fused_one_gives(fused: onnx.ModelProto, scheme: str) -> None:
    quantised = deepcopy(fused)
    assert quantise(quantised, scheme, input_ranges(fused, [[5, 6, 7, 8, 9, 10, 11]]))["matrices"]  # type: ignore[arg-type]
    standard = to_standard(deepcopy(quantised))
    assert {node.domain for node in standard.graph.node} == {""}
    for left, right in zip(_run(quantised), _run(standard), strict=True):
        assert np.abs(left - right).max() < 1e-5


def test_every_bias_of_attention_has_its_heads_so_that_no_version_has_to_share_it(fused: onnx.ModelProto) -> None:
    for node in fused.graph.node:
        if node.op_type == "MultiHeadAttention":
            graph = Graph(fused)
            shape = graph.shape(node.input[BIAS_INPUT])
            written = graph.producer(node.input[BIAS_INPUT])
            heads = attribute(node, "num_heads")
            assert (shape is not None and shape[1] == heads) or (
                written is not None and graph.constant(written.input[1]).tolist() == [1, heads, 1, 1]  # type: ignore[union-attr]
            )
    norms = [len(node.input) for node in fused.graph.node if node.op_type == "LayerNormalization"]
    assert least_onnxruntime(fused) == ("1.19.2" if 2 in norms else "1.18.0")  # 1.18 dies on a norm without a bias
    count = len(fused.graph.node)
    again = Graph(deepcopy(fused))
    bias_per_head(again)
    assert len(again.finish().graph.node) == count


def test_a_bias_shared_by_heads_asks_for_the_version_that_reads_it_right() -> None:
    assert least_onnxruntime(_graph("bert")) == "1.21.1"


@pytest.mark.parametrize(
    ("opset", "ir", "least"),
    [
        (17, 8, "1.12.0"),
        (20, 9, "1.17.0"),
        (21, 10, "1.18.0"),
        (20, 11, "1.21.0"),
        (23, 10, "1.23.0"),
        (99, 10, "1.24.0"),
    ],
)
def test_least_version_is_that_of_opset_and_of_the_file_format(opset: int, ir: int, least: str) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    assert least_onnxruntime(model) == least


def test_an_unknown_operator_of_an_engine_is_not_passed_on() -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("QuickGelu", ["x"], ["y"], domain=MICROSOFT)], "one", [x], [y])
    with pytest.raises(ValueError, match="QuickGelu"):
        to_standard(helper.make_model(graph))


def test_the_file_that_clients_take_by_default_has_standard_operators_and_int8_where_asked(tmp_path: Path) -> None:
    folder, _ = exported("bert", "static")  # has fp16 too
    domains = {
        path.name: {node.domain for node in onnx.load(path).graph.node} for path in (folder / "onnx").glob("*.onnx")
    }
    assert domains["model.onnx"] == domains["model_fp16.onnx"] == {""}
    assert MICROSOFT in domains["model_quantized.onnx"]
    export(checkpoint("bert"), tmp_path / "out", standard=True, measure_speed=False)
    standard = onnx.load(tmp_path / "out" / "onnx" / "model_quantized.onnx")
    assert {node.domain for node in standard.graph.node} == {""}
    assert "MatMulInteger" in {node.op_type for node in standard.graph.node}


def test_each_file_names_the_least_onnxruntime_and_keeps_to_old_formats() -> None:
    folder, _ = exported("bert", "static")
    for path in (folder / "onnx").glob("*.onnx"):
        header = read_header(path)
        assert (header.least_onnxruntime, header.opset) == ("1.18.0", OPSET)
        assert onnx.load(path).ir_version == IR_VERSION
