"""torch's graphs of what was exported before in the session, by everything that torch is given.

Tracing a model of two layers takes torch seconds, and many tests export the same tiny model. A call of
`torch.onnx.export` with the same module (its classes, settings and weights), the same example and the same options as
an earlier one in the session, in any of its processes, gives the graph of that call. All that slonik does before and
behind that call is done each time. Where torch does trace, it takes its table of operators from the trace before.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import onnx
import torch
from transformers import PretrainedConfig, PreTrainedModel

from slonik.models.encoder import TorchEncoder
from slonik.models.task_model import TaskModel
from slonik.text.task_config import TaskConfig
from tests import folders

_TRACE = torch.onnx.export
_WHERE_FROM = {
    PreTrainedModel: ("_name_or_path", "name_or_path"), PretrainedConfig: ("_name_or_path", "name_or_path"),
    TorchEncoder: ("name", "source", "passport"), TaskModel: ("name", "source", "passport"),
}  # fmt: skip
"""Class -> attributes that say where a model is from and what was done with it, which is in no graph."""


class Traced:
    """Stands for torch's program: its graph is all that slonik reads of it."""

    def __init__(self, graph: bytes) -> None:
        self.model_proto = onnx.load_from_string(graph)


class _Named(pickle.Pickler):
    """Writes equal objects alike: tensors as what they hold, dimensions by their names, nothing by its address."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.fast = True  # whether two equal values are one object does not count

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            held = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            return str, (
                f"{value.dtype} {tuple(value.shape)} {value.requires_grad} {hashlib.sha256(held).hexdigest()}",
            )
        if isinstance(value, torch.export.Dim):
            return str, (f"{value.__name__} {value.min} {value.max}",)
        if isinstance(value, TaskConfig):  # what happens to longer texts is in no graph either
            return str, (value.model_dump_json(exclude={"long_texts"}),)
        for kind, left_out in _WHERE_FROM.items():
            if isinstance(value, kind):
                make, arguments, state = value.__reduce_ex__(2)[:3]
                return make, arguments, {name: held for name, held in state.items() if name not in left_out}
        return NotImplemented


def key_of(*called: Any) -> str | None:
    """What two calls have in common that give the same graph; None where the module cannot be written down."""
    stream = io.BytesIO()
    try:
        _Named(stream).dump(called)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
        return None
    return hashlib.sha256(stream.getvalue()).hexdigest()


def export(*args: Any, **options: Any) -> Any:
    """`torch.onnx.export`, which traces the same once."""
    _read_operators_once()
    key = key_of(args, options)
    if key is None:
        return _TRACE(*args, **options)
    path = folders.of_session("traced") / key
    if not path.is_file():
        _keep(path, _TRACE(*args, **options).model_proto)
    return Traced(path.read_bytes())


@functools.cache
def _read_operators_once() -> None:
    """Half a second of each trace goes into the same table of the operators that can be written."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    read = functools.cache(ONNXRegistry.from_torchlib)
    ONNXRegistry.from_torchlib = staticmethod(read)  # type: ignore[method-assign, assignment]


def _keep(path: Path, graph: onnx.ModelProto) -> None:
    """Whole or absent: another process may look for it at this moment."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_bytes(graph.SerializeToString())
    part.replace(path)
