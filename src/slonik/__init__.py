"""slonik: a workbench for Russian transformer models.

`slonik.load(model)` gives an encoder: from an exported folder through onnxruntime, without importing torch, or
from any other checkpoint through torch. Everything else is imported from its own package when it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slonik.core.version import __version__

if TYPE_CHECKING:
    from slonik.core.protocols import Encoder

__all__ = ["__version__", "load"]


def load(model: str | Path, *, backend: Literal["torch", "onnx"] | None = None, **options: Any) -> Encoder:
    """An encoder from a folder, a hub id, `embedded:NAME`, or the bare name of a baseline.

    Args:
        model: what to load.
        backend: "onnx" or "torch"; None takes onnxruntime when the folder holds an exported model.
        options: passed to `slonik.runtime.load` or `slonik.models.load`.

    Raises:
        SlonikError: there is no such model, or it is broken; the sentence says which file.
    """
    from slonik.models.opening import open_encoder

    return open_encoder(model, backend=backend, **options)
