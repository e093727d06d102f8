"""A set of 64-bit hashes in constant memory per entry: a Bloom filter that grows by whole filters.

"Not seen" is always right; "seen" is wrong once in a million at most per filter. Source: Bloom (1970); growth by a new
filter as in Almeida et al., "Scalable Bloom Filters" (2007), with equal sizes. Some 3.6 bytes per entry, where a
Python set takes 60.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_ERROR = 1e-6
_PROBES = 20
_BITS_PER_ENTRY = -math.log(_ERROR) / math.log(2) ** 2  # 28.8


class BloomSet:
    """Hashes seen so far.

    Args:
        capacity: entries of one filter; memory is taken by the filter.
    """

    def __init__(self, capacity: int = 1_000_000) -> None:
        self._capacity = capacity
        self._bits = 8 * math.ceil(capacity * _BITS_PER_ENTRY / 8)
        self._filters: list[NDArray[np.uint8]] = []
        self._count = capacity
        self._steps = np.arange(_PROBES, dtype=np.uint64)

    def __len__(self) -> int:
        """Entries that were new."""
        return max(0, len(self._filters) - 1) * self._capacity + (self._count if self._filters else 0)

    @property
    def bytes(self) -> int:
        """Memory taken."""
        return sum(array.nbytes for array in self._filters)

    def seen_then_add(self, mark: int) -> bool:
        """Whether the 64-bit `mark` was added before; it is afterwards."""
        # Kirsch and Mitzenmacher (2006): two halves of one hash make all probes.
        first, second = np.uint64(mark & 0xFFFFFFFF), np.uint64((mark >> 32) | 1)
        places = (first + self._steps * second) % np.uint64(self._bits)
        cells, masks = (
            (places >> np.uint64(3)).astype(np.int64),
            np.uint8(1) << (places & np.uint64(7)).astype(np.uint8),
        )
        for array in self._filters:
            if ((array[cells] & masks) != 0).all():
                return True
        if self._count >= self._capacity:
            self._filters.append(np.zeros(self._bits // 8, dtype=np.uint8))
            self._count = 0
        np.bitwise_or.at(self._filters[-1], cells, masks)
        self._count += 1
        return False
