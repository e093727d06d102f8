"""The torch-free encoder: exported models on onnxruntime.

`load(folder).encode(texts)` is all that most programs need. Streams of any size are in `slonik.runtime.stream`.
"""

from __future__ import annotations

from slonik.runtime.encoder import OnnxEncoder, load

__all__ = ["OnnxEncoder", "load"]
