"""The leading dimensions of sentence vectors, for models whose dimensions are ordered (Matryoshka, principal axes).

A folder's config.json says which cuts were measured: `matryoshka_dimensions`, a list, or `is_matryoshka`, any, as users
of other libraries write there. Other models may be cut too, as sentence-transformers allows with its truncate_dim, and
then it is said that nobody has measured it: a client of the server, who would not see that, is refused.

Source: Kusupati et al., "Matryoshka Representation Learning" (2022). Shapes: N texts, D dimensions.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.progress import warn_once
from slonik.core.protocols import FloatArray
from slonik.text.lines import read_json

KEYS = ("matryoshka_dimensions", "is_matryoshka")
"""Fields of config.json that tell of a model and change nothing in what it computes."""
E = TypeVar("E")


def leading(vectors: FloatArray, dimensions: int | None, *, normalize: bool) -> FloatArray:
    """The first `dimensions` of vectors (N, D); None = all.

    Args:
        normalize: bring what is left to length one again, as the whole vectors were.
    """
    if dimensions is None or dimensions >= vectors.shape[1]:
        return vectors
    kept = vectors[:, :dimensions]
    if normalize:
        kept = kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(kept, dtype=np.float32)


def check_dimensions(dimensions: int, own: int, name: str) -> None:
    """Refuse what cannot be cut.

    Raises:
        SlonikError: fewer than one dimension, more than the model has, or no whole number.
    """
    try:
        whole = operator.index(dimensions)  # numpy's whole numbers, too
    except TypeError:
        whole = 0
    if isinstance(dimensions, bool) or not 1 <= whole <= own:
        raise SlonikError(f"dimensions is {dimensions!r}, and {name} has {own}: use 1 to {own}")


def measured_cuts(folder: str | Path) -> tuple[int, ...] | None:
    """The cuts that a folder's config.json tells of, largest first; () for none, None for any."""
    config = read_json(Path(folder) / "config.json", optional=True)
    named = config.get(KEYS[0])
    if isinstance(named, list) and all(isinstance(value, int) and value > 0 for value in named):
        return tuple(sorted(named, reverse=True))
    return None if config.get(KEYS[1]) is True else ()


def note_cuts(folder: str | Path, dimensions: Iterable[int]) -> None:
    """Write into a folder's config.json, where it has one, that these cuts were measured.

    A line is put before the others, which stay byte for byte: the checkpoint's identity leaves that line out.
    """
    from slonik.core.files import write_bytes  # a process that only reads need not pay for these
    from slonik.core.identity import CUTS_LINE

    path = Path(folder) / "config.json"
    known = measured_cuts(folder)
    if known is None or not path.is_file():
        return
    found = sorted({*known, *dimensions}, reverse=True)
    rest = CUTS_LINE.sub(b"", path.read_bytes())
    if found == list(known) or KEYS[0] in json.loads(rest):  # written by another tool in a form of its own
        return
    write_bytes(path, rest.replace(b"{", f'{{\n  "{KEYS[0]}": {found},'.encode(), 1))


def shortened(encoder: E, dimensions: int | None) -> E:
    """An encoder that gives the leading dimensions of its vectors; one without a measured cut of that size is told of.

    Raises:
        SlonikError: it has not so many, or is of a kind whose dimensions have no order (hashed words).
    """
    if dimensions is None:
        return encoder
    one: Any = encoder
    if not hasattr(one, "dimensions"):
        raise SlonikError(f"{one.name} gives whole vectors alone: leave dimensions out")
    check_dimensions(dimensions, one.dimension, one.name)
    folder = getattr(one, "source", None)
    known = measured_cuts(folder) if folder is not None else ()
    if dimensions < one.dimension and known is not None and dimensions not in known:
        told = f"measured are {', '.join(map(str, known))}" if known else "none was measured"
        warn_once(
            f"{one.name} does not say that its first {dimensions} dimensions are worth anything alone ({told}): "
            "slonik evaluate encodechka MODEL --dimensions measures them"
        )
    one.dimensions = dimensions
    return encoder
