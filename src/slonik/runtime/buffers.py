"""Input arrays that are filled again and again instead of being allocated for every batch; one set per thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Buffers:
    """Rows of ids to padded arrays (B, T); what `fill` gives is valid until its next call in the same thread.

    Args:
        pad: id of the padding token.
    """

    def __init__(self, pad: int) -> None:
        self._pad = pad
        self._local = threading.local()

    def fill(
        self, rows: Sequence[Sequence[int]], batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and mask (B, T) of the rows that `batch` names, padded on the right to the longest."""
        longest = max(len(rows[index]) for index in batch)
        ids = self._array("ids", len(batch), longest)
        mask = self._array("mask", len(batch), longest)
        for place, index in enumerate(batch):
            size = len(rows[index])
            ids[place, :size] = rows[index]
            ids[place, size:] = self._pad
            mask[place, :size] = 1
            mask[place, size:] = 0
        return ids, mask

    def zeros(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Zeros (B, T): token types for files that ask for them."""
        array = self._array("zeros", *shape)
        array[:] = 0
        return array

    def _array(self, name: str, height: int, width: int) -> NDArray[np.int64]:
        flat: NDArray[np.int64] | None = getattr(self._local, name, None)
        if flat is None or flat.size < height * width:
            flat = np.empty(max(1024, height * width), dtype=np.int64)
            setattr(self._local, name, flat)
        return flat[: height * width].reshape(height, width)
