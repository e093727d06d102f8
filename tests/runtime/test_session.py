"""Sessions: int8 products are exact on any processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from slonik.runtime.session import open_session


def test_int8_products_do_not_overflow_on_any_processor(tmp_path: Path) -> None:
    """Without exact sums a processor that has no VNNI holds 2 * 255 * 127 in 16 bits, which is 32,767 there."""
    weight = np.full((64, 16), 127, dtype=np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["n", 16])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "product.onnx")
    session = open_session(tmp_path / "product.onnx", threads=1, inputs={"x"}, what="a product")
    found = session.run(None, {"x": np.full((8, 64), 255, dtype=np.uint8)})[0]
    np.testing.assert_array_equal(found, 64 * 255 * 127)
