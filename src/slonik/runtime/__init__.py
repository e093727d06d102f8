"""Exported models on onnxruntime, without torch: encoders, models with heads, taggers.

`load(folder).encode(texts)` is all that most programs need of an encoder; `open_model` opens whatever a folder holds.
Streams of any size are in `slonik.runtime.stream`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slonik.runtime.encoder import OnnxEncoder, load

if TYPE_CHECKING:
    from slonik.runtime.opening import open_model as open_model

__all__ = ["OnnxEncoder", "load", "open_model"]


def __getattr__(name: str) -> Any:
    """`open_model`, imported when it is asked for: tasks bring pydantic, which a process that only encodes can save."""
    if name == "open_model":
        from slonik.runtime.opening import open_model

        return open_model
    raise AttributeError(f"module 'slonik.runtime' has no attribute {name!r}")
