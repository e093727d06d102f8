"""Leave out documents that were there before: equal ones, and near ones, in one pass and some bytes per document.

Equal: the same letters and digits (`sampling.normalised`). Near: MinHash signatures of word 5-grams (rensa, written in
Rust), cut into bands; a document that shares a whole band with an earlier one is left out, so pairs of Jaccard
similarity s go with probability 1 - (1 - s^r)^b. Source: Broder (1997); bands in Bloom filters instead of tables, so
that memory stays constant per document: Khan et al., "LSHBloom" (2024). The first document of its kind stays.

Memory: 4 bytes per different document for equal ones, 4 per band for near ones (11 bands at the default threshold).
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from slonik.core.errors import MissingExtra, SlonikError
from slonik.data.bloom import BloomSet
from slonik.data.sampling import text_hash

_SEED = 20231
_HASHES = 128


class ExactFilter:
    """Knows the documents that were there."""

    def __init__(self, capacity: int = 1_000_000) -> None:
        self._seen = BloomSet(capacity)

    def is_new(self, text: str) -> bool:
        """Whether no equal document came before."""
        return not self._seen.seen_then_add(text_hash(text, "document"))


class NearFilter:
    """Knows the shingles of the documents that were there.

    Args:
        threshold: Jaccard similarity of sets of word n-grams at which half of the pairs are found.
        words: n; texts with fewer words are one shingle.
        capacity: documents per filter.

    Raises:
        SlonikError: a threshold outside (0, 1).
        MissingExtra: rensa is not installed.
    """

    def __init__(self, threshold: float = 0.8, *, words: int = 5, capacity: int = 1_000_000) -> None:
        if not 0 < threshold < 1:
            raise SlonikError(f"the threshold of near duplicates is {threshold}; it must lie between 0 and 1")
        try:
            import rensa
        except ImportError as error:
            raise MissingExtra("finding near duplicates", "corpora", "rensa") from error
        self._rensa: Any = rensa
        self._words = words
        self.bands, self.rows = bands_for(threshold)
        self._seen = [BloomSet(capacity) for _ in range(self.bands)]

    def is_new(self, text: str) -> bool:
        """Whether no near document came before; its bands are remembered only then."""
        marks = self._band_hashes(text)
        known = [band.seen_then_add(mark) for band, mark in zip(self._seen, marks, strict=True)]
        return not any(known)

    def _band_hashes(self, text: str) -> list[int]:
        words = text.casefold().split()
        count = max(1, len(words) - self._words + 1)
        shingles = [" ".join(words[start : start + self._words]) for start in range(count)]
        sketch = self._rensa.CMinHash(num_perm=_HASHES, seed=_SEED)
        sketch.update(shingles)
        digest = np.asarray(sketch.digest(), dtype=np.uint64)
        used = digest[: self.bands * self.rows].reshape(self.bands, self.rows)
        return [int.from_bytes(hashlib.blake2b(band.tobytes(), digest_size=8).digest(), "little") for band in used]


def bands_for(threshold: float) -> tuple[int, int]:
    """(bands, rows of a band) out of 128 hashes whose curve is steepest nearest to `threshold`: (1 / b)^(1 / r)."""
    choices = [(_HASHES // rows, rows) for rows in range(1, _HASHES + 1)]
    return min(choices, key=lambda choice: abs((1 / choice[0]) ** (1 / choice[1]) - threshold))
