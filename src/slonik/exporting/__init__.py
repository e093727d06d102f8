"""Export: a checkpoint to ONNX files that run without torch, held to what torch gives.

`export` is imported when first used, so that the command line starts without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slonik.exporting.report import ExportReport
    from slonik.exporting.run import export

__all__ = ["ExportReport", "export"]

_HOMES = {"export": "run", "ExportReport": "report"}


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
