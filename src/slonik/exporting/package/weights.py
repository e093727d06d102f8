"""An int8 graph and torch's weights from one file of numbers.

The constants of the graph go into a safetensors file beside it, from which onnxruntime maps them into memory (external
data of ONNX: a place and a length in a file); the graph itself keeps what is small. Each parameter of the torch model
is looked up among the constants of the fp32 graph by its values, turned or as a block of columns, for the exporter
turns matrices and joins those that read the same input. So the file can say how the parameters are made again from the
int8 codes (`slonik.models.embedded.packed`). A parameter that no constant holds is stored as it is.

Shapes: a matrix (K, N) turns K numbers into N; torch keeps it as (N, K).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.external_data_helper import set_external_data

from slonik.core.files import write_bytes
from slonik.exporting.precision import InCodes
from slonik.exporting.torch_graph import token_types_folded
from slonik.models.embedded.packed import (
    CODES,
    DIVISORS,
    PARAMETERS,
    SCALES,
    Place,
    parameter_of,
)
from slonik.models.names import WEIGHTS_FILE
from slonik.runtime.onnx_header import METADATA_KEY, WEIGHTS_KEY
from slonik.text.tensors import stored

Array = NDArray[Any]
_LEAST_BYTES = 1024  # constants of a graph that are no parameters stay in it below this, shapes among them
_OF_GRAPH = "graph:"
_POOLER = "pooler."  # where it makes the vectors it is a module behind the transformer, with a file of its own


@dataclass(frozen=True)
class PackedWeights:
    """What was written.

    Attributes:
        bytes: of the file of weights, and `graph_bytes`, of the graph beside it.
        parameters: how many numbers of torch's the file stands for.
        own: parameters that are stored by themselves, since no constant of the graph holds them.
    """

    bytes: int
    graph_bytes: int
    parameters: int
    own: tuple[str, ...]


def parameters_as_exported(model: torch.nn.Module) -> dict[str, Array]:
    """The parameters of a model as its graph has them: the one token type is added to the positions.

    The tables of token types are then zeros, so that torch computes the same.
    """
    before = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    with token_types_folded(model):  # type: ignore[arg-type]
        inside = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    return {name: inside.get(name, torch.zeros_like(value)).numpy() for name, value in before.items()}


def pack(
    fp32: onnx.ModelProto, path: Path, places: Mapping[str, InCodes], parameters: Mapping[str, Array]
) -> PackedWeights:
    """Move the constants of the int8 file `path` into a safetensors file beside it, and write both.

    Args:
        fp32: the graph that was quantised.
        places: what stands for its constants in the int8 file, as `precision.quantise` tells.
        parameters: of the torch model, as `parameters_as_exported` gives them.

    Raises:
        SlonikError: a file cannot be written.
    """
    model = onnx.load(path)
    constants = {item.name: numpy_helper.to_array(item) for item in fp32.graph.initializer}
    initializers = {item.name: item for item in model.graph.initializer}
    found = dict(_places_of(constants, parameters))
    labels = _labels(found)
    tensors: dict[str, Array] = {}
    homes: dict[str, str] = {}  # initializer -> tensor of the file
    for constant, label in labels.items():
        there = places.get(constant)
        parts = (
            {"": constant} if there is None else {CODES: there.codes, SCALES: there.scales, DIVISORS: there.divisors}
        )
        for suffix, name in parts.items():
            if name is not None and name in initializers:
                tensors[label + suffix] = numpy_helper.to_array(initializers[name])
                homes.setdefault(name, label + suffix)
    said: dict[str, Place] = {}
    for name, (constant, place) in found.items():
        placed = Place(labels[constant], place.start, place.stop, place.turned)
        if _holds(tensors, placed, parameters[name], coded=constant in places):
            said[name] = placed
    own = tuple(name for name in parameters if name not in said and _POOLER not in name)
    tensors |= {name: parameters[name] for name in own}
    said |= {name: Place(name) for name in own}
    for name, item in initializers.items():
        value = numpy_helper.to_array(item)
        if name not in homes and value.nbytes >= _LEAST_BYTES and value.dtype in (np.float32, np.int8):
            tensors[_OF_GRAPH + name], homes[name] = value, _OF_GRAPH + name
    told = {name: place.content() for name, place in sorted(said.items())}
    content, offsets = stored(tensors, {PARAMETERS: json.dumps(told, separators=(",", ":"))})
    for name, home in homes.items():
        set_external_data(initializers[name], WEIGHTS_FILE, offset=offsets[home][0], length=offsets[home][1])
        initializers[name].ClearField("raw_data")
    _tell(model)
    write_bytes(path.parent / WEIGHTS_FILE, content)
    graph = model.SerializeToString()
    write_bytes(path, graph)
    return PackedWeights(len(content), len(graph), sum(parameters[name].size for name in said), own)


def _tell(model: onnx.ModelProto) -> None:
    """Write into the graph's own metadata in which file its numbers are."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = json.dumps({**json.loads(entry.value), WEIGHTS_KEY: WEIGHTS_FILE}, ensure_ascii=False)


def _places_of(
    constants: Mapping[str, Array], parameters: Mapping[str, Array]
) -> Iterator[tuple[str, tuple[str, Place]]]:
    """Parameter -> the constant that holds it, and where in it."""
    floats = {name: value for name, value in constants.items() if value.dtype == np.float32}
    for name, wanted in parameters.items():
        if wanted.dtype != np.float32 or not wanted.size:
            continue
        for constant, value in floats.items():
            place = _place_in(value, wanted)
            if place is not None:
                yield name, (constant, place)
                break


def _place_in(constant: Array, wanted: Array) -> Place | None:
    """Where a constant holds a parameter: whole, a block of its columns turned, or a stretch of a vector."""
    if constant.shape == wanted.shape and np.array_equal(constant, wanted):
        return Place("")
    if constant.ndim != wanted.ndim or wanted.ndim not in (1, 2):
        return None
    turned = wanted.ndim == 2
    block = wanted.T if turned else wanted
    if (turned and constant.shape[0] != block.shape[0]) or constant.shape[-1] < block.shape[-1]:
        return None
    first, corner = (constant[0], block[0, 0]) if turned else (constant, block[0])
    width = block.shape[-1]
    for start in np.flatnonzero(first[: constant.shape[-1] - width + 1] == corner):
        if np.array_equal(constant[..., start : start + width], block):
            return Place("", int(start), int(start + width), turned)
    return None


def _labels(found: Mapping[str, tuple[str, Place]]) -> dict[str, str]:
    """Constant -> the names of the parameters in it, in their order."""
    inside: dict[str, list[tuple[int, str]]] = {}
    for name, (constant, place) in found.items():
        inside.setdefault(constant, []).append((place.start or 0, name))
    return {constant: "+".join(name for _, name in sorted(names)) for constant, names in inside.items()}


def _holds(tensors: Mapping[str, Array], place: Place, wanted: Array, *, coded: bool) -> bool:
    """Whether the parameter can be made from what is stored: exactly, or of codes to half a step of each."""
    if place.tensor not in tensors and place.tensor + CODES not in tensors:
        return False
    made = parameter_of(tensors, place)
    if not coded:
        return made.shape == wanted.shape and np.array_equal(made, wanted)
    codes = tensors[place.tensor + CODES]
    step = parameter_of({**tensors, place.tensor + CODES: np.ones(codes.shape, np.int8)}, place)
    return made.shape == wanted.shape and bool((np.abs(made - wanted) <= 0.501 * np.abs(step) + 1e-12).all())
