"""Torch's weights from the file of numbers that a model's distribution ships for onnxruntime.

`slonik.exporting.package.weights` writes the file. Its header says of every parameter of the torch model in which
tensor it is: whole, or a block of columns, turned or not. A tensor is stored as it is, or as int8 codes with a scale
per column (of a table: per row) and, where the exporter divided channels down, with what its rows are multiplied by
after that. Needs numpy alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.files import write_bytes
from slonik.core.hashing import sha256_texts
from slonik.core.identity import file_identity
from slonik.core.passport import FILE_NAME as PASSPORT
from slonik.core.passport import Passport, Step
from slonik.models.distributions import FILE_NAME
from slonik.models.names import WEIGHTS_FILE
from slonik.text.tensors import read_arrays, read_metadata, stored

Array = NDArray[Any]
FORMAT = 1  # of the folder that `build` writes
PARAMETERS = "parameters"
_NOT_COPIED = (FILE_NAME, PASSPORT, "README.md")
CODES, SCALES, DIVISORS = ":codes", ":scales", ":divisors"


@dataclass(frozen=True)
class Place:
    """Where a parameter is.

    Attributes:
        tensor: name of the tensor, without `CODES` and the like.
        start, stop: its columns, or its stretch of a vector; None = all.
        turned: torch has it the other way round.
    """

    tensor: str
    start: int | None = None
    stop: int | None = None
    turned: bool = False

    def content(self) -> list[Any]:
        """As JSON."""
        whole = self.start is None and not self.turned
        return [self.tensor] if whole else [self.tensor, self.start, self.stop, self.turned]


def stamp(source: Path) -> str:
    """A hash of all that `build` makes a checkpoint of: the files that the distribution vouches for, and the passport.

    Raises:
        OSError: they cannot be read.
    """
    return sha256_texts(file_identity(source / name) for name in (FILE_NAME, PASSPORT) if (source / name).is_file())


def build(source: Path, name: str, folder: Path) -> None:
    """Write the model that ships in `source` as an ordinary checkpoint.

    Args:
        name: of the model, for the passport.

    Raises:
        SlonikError: a file is missing or damaged, or the disk is full.
    """
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if path.is_file() and inside.parts[0] != "onnx" and inside.name not in _NOT_COPIED:
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / inside)
    weights = source / "onnx" / WEIGHTS_FILE
    write_bytes(folder / "model.safetensors", stored(read_parameters(weights))[0])
    passport = Passport.read(source)
    licence = next((step.license for step in reversed(passport.lineage) if step.license), None)
    step = Step(command="embedded", inputs={WEIGHTS_FILE: file_identity(weights)}, license=licence)
    passport.with_step(step, name=name).write(folder)


def parameter_of(tensors: Mapping[str, Array], place: Place) -> Array:
    """The parameter at `place`, of codes as float32.

    Raises:
        KeyError: the tensors lack it.
    """
    if place.tensor in tensors:
        value = tensors[place.tensor]
    else:
        value = tensors[place.tensor + CODES].astype(np.float32) * tensors[place.tensor + SCALES]
        if (divisors := tensors.get(place.tensor + DIVISORS)) is not None:
            value = value * divisors[:, None]
    value = value[..., place.start : place.stop]
    return np.ascontiguousarray(value.T if place.turned else value)


def read_parameters(path: Path) -> dict[str, Array]:
    """Name -> value of every parameter of the torch model.

    Raises:
        SlonikError: the file is missing, damaged, or not of this kind.
    """
    try:
        said = json.loads(read_metadata(path)[PARAMETERS])
        tensors = read_arrays(path)
        return {name: parameter_of(tensors, Place(*place)) for name, place in said.items()}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SlonikError(
            f"{path} does not say how torch's weights are made of it ({type(error).__name__}: {error}): "
            "install the package again"
        ) from None
