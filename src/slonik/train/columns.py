"""Arrays aligned with the texts of a loader: teacher vectors, vectors of translations, teacher states of tokens.

A column turns the numbers of the texts of a batch into one tensor. Shapes: B texts of the batch, N texts in all,
T tokens, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slonik.text.batching import pad_arrays
from slonik.train.protocols import IntArray
from slonik.train.ragged import Ragged


class Column(Protocol):
    """Something that can be looked up for the texts of a batch."""

    def take(self, texts: IntArray) -> Tensor:
        """(B, ...) for the B text numbers."""
        ...


class Rows:
    """One row per text.

    Args:
        array: (N, ...) array or memory map.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def take(self, texts: IntArray) -> Tensor:
        """(B, ...) rows."""
        return torch.from_numpy(np.ascontiguousarray(self._array[texts]))


class PartnerRows:
    """The row of another text: of the translation, where there is one.

    Args:
        array: (M, D) array or memory map.
        rows: (N,) the row of each text's partner, -1 for none.
    """

    def __init__(self, array: NDArray[Any], rows: IntArray) -> None:
        self._array = array
        self._rows = rows

    def take(self, texts: IntArray) -> Tensor:
        """(B, D) rows, zeros where a text has no partner."""
        rows = self._rows[texts]
        taken = np.ascontiguousarray(self._array[np.maximum(rows, 0)])
        taken[rows < 0] = 0
        return torch.from_numpy(taken)


class Concatenated:
    """Several teachers as one: unit vectors side by side, so that the cosine is the mean of theirs.

    Args:
        arrays: (N, D_k) arrays or memory maps.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        self._arrays = arrays

    def take(self, texts: IntArray) -> Tensor:
        """(B, sum of D_k), unit length."""
        parts = [np.asarray(array[texts], dtype=np.float32) for array in self._arrays]
        unit = [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in parts]
        return torch.from_numpy(np.concatenate(unit, axis=1) / np.float32(len(unit) ** 0.5))


class TokenRows:
    """One vector per token.

    Args:
        states: N rows of (T_i, D).
    """

    def __init__(self, states: Ragged) -> None:
        self._states = states

    def take(self, texts: IntArray) -> Tensor:
        """(B, longest T, D), zeros after the end of a text."""
        rows = [self._states[text] for text in texts]
        return torch.from_numpy(pad_arrays(rows))
