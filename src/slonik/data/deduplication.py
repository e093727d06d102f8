"""Leave out documents that were there before: equal ones, and near ones, in one pass and some bytes per document.

Equal: the same letters and digits (`sampling.normalised`). Near: MinHash signatures of word 5-grams (rensa, written in
Rust), cut into bands; a document that shares a whole band with an earlier one is left out, so pairs of Jaccard
similarity s go with probability 1 - (1 - s^r)^b. Source: Broder (1997); bands in Bloom filters instead of tables, so
that memory stays constant per document: Khan et al., "LSHBloom" (2024). The first document of its kind stays.

Memory: 4 bytes per different document for equal ones, 4 per band for near ones (11 bands at the default threshold).
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra, SlonikError
from slonik.data.sampling import text_hash

_SEED = 20231
_HASHES = 128
_SHINGLE = 5  # words; a shorter text is one shingle
_ERROR = 1e-6
_PROBES = 20
_BITS_PER_ENTRY = -math.log(_ERROR) / math.log(2) ** 2  # 28.8


class BloomSet:
    """64-bit hashes seen so far, in constant memory per entry: a Bloom filter that grows by whole filters.

    "Not seen" is always right; "seen" is wrong once in a million at most per filter. Some 3.6 bytes per entry, where a
    Python set takes 60. Source: Bloom (1970); growth by a new filter as in Almeida et al., "Scalable Bloom Filters"
    (2007), with equal sizes.

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


def exact_mark(text: str) -> int:
    """The 64 bits that equal documents have in common, on every machine."""
    return text_hash(text, "document")


class ExactFilter:
    """Knows the documents that were there."""

    def __init__(self, capacity: int = 1_000_000) -> None:
        self._seen = BloomSet(capacity)

    def is_new(self, text: str) -> bool:
        return not self._seen.seen_then_add(exact_mark(text))


class NearMarks:
    """Marks of documents of which near ones have one in common: hashes of the bands of their MinHash signatures.

    Args:
        threshold: Jaccard similarity of sets of word 5-grams at which half of the pairs are found.

    Raises:
        SlonikError: a threshold outside (0, 1).
        MissingExtra: rensa is not installed.
    """

    def __init__(self, threshold: float = 0.8) -> None:
        if not 0 < threshold < 1:
            raise SlonikError(f"the threshold of near duplicates is {threshold}; it must lie between 0 and 1")
        try:
            import rensa
        except ImportError as error:
            raise MissingExtra("finding near duplicates", "corpora", "rensa") from error
        self._rensa: Any = rensa
        self.bands, self.rows = bands_for(threshold)

    def of(self, text: str) -> list[int]:
        """A 64-bit hash per band."""
        words = text.casefold().split()
        count = max(1, len(words) - _SHINGLE + 1)
        shingles = [" ".join(words[start : start + _SHINGLE]) for start in range(count)]
        sketch = self._rensa.CMinHash(num_perm=_HASHES, seed=_SEED)
        sketch.update(shingles)
        digest = np.asarray(sketch.digest(), dtype=np.uint64)
        used = digest[: self.bands * self.rows].reshape(self.bands, self.rows)
        return [int.from_bytes(hashlib.blake2b(band.tobytes(), digest_size=8).digest(), "little") for band in used]


class NearFilter:
    """Knows the marks of the documents that were there.

    Args:
        threshold: see `NearMarks`.
        capacity: documents per filter.

    Raises:
        SlonikError: a threshold outside (0, 1).
        MissingExtra: rensa is not installed.
    """

    def __init__(self, threshold: float = 0.8, *, capacity: int = 1_000_000) -> None:
        self._marks = NearMarks(threshold)
        self._seen = [BloomSet(capacity) for _ in range(self._marks.bands)]

    def is_new(self, text: str) -> bool:
        """Whether no near document came before, left out or not."""
        known = [band.seen_then_add(mark) for band, mark in zip(self._seen, self._marks.of(text), strict=True)]
        return not any(known)


def bands_for(threshold: float) -> tuple[int, int]:
    """(bands, rows of a band) out of 128 hashes whose curve is steepest nearest to `threshold`: (1 / b)^(1 / r)."""
    choices = [(_HASHES // rows, rows) for rows in range(1, _HASHES + 1)]
    return min(choices, key=lambda choice: abs((1 / choice[0]) ** (1 / choice[1]) - threshold))
