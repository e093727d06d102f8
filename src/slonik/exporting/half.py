"""An fp32 graph in half precision: weights and sums in fp16, inputs and outputs as before.

For accelerators and for disk; processors without fp16 units run it slower, and the export says so when measured.
"""

from __future__ import annotations

import logging

import onnx


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in fp16; the two outputs stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    half: onnx.ModelProto = convert_float_to_float16(copied, keep_io_types=True, disable_shape_infer=False)
    return half
