"""Words of like meaning as two numbers: clusters of word vectors, fine and coarse, as features of a CRF.

The vectors are navec's (carried by the package natasha); they are clustered by spherical k-means over the words that
the training texts have, then every navec word gets its nearest cluster. A saved tagger holds words and numbers and
needs no vectors any more. Sources: Dhillon & Modha 2001 (spherical k-means); Miller, Guinness, Zamanian 2004 (clusters
as features of names).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.files import write_bytes
from slonik.core.hashing import derive_seed
from slonik.models.baselines import navec_path

_ROUNDS = 12
_BLOCK = 16_384  # rows multiplied at once
_FINE_PER_COARSE = 12

Vectors = NDArray[np.float32]


class WordClusters:
    """Word in lower case -> (fine, coarse) cluster.

    Args:
        numbers: word -> fine cluster.
        coarse: coarse cluster of each fine one.
    """

    def __init__(self, numbers: Mapping[str, int], coarse: Sequence[int]) -> None:
        self.numbers = dict(numbers)
        self.coarse = tuple(coarse)

    def __call__(self, word: str) -> tuple[int, int] | None:
        """Clusters of a word in lower case, also spelt with е for ё; None for an unknown one."""
        found = self.numbers.get(word)
        if found is None and "ё" in word:
            found = self.numbers.get(word.replace("ё", "е"))
        return None if found is None else (found, self.coarse[found])

    def save(self, path: Path) -> None:
        """Write a packed text file: the coarse clusters, then a word and its number a line."""
        lines = [" ".join(map(str, self.coarse))]
        lines += [f"{word}\t{number}" for word, number in sorted(self.numbers.items())]
        write_bytes(path, gzip.compress("\n".join(lines).encode("utf-8"), mtime=0))

    @classmethod
    def open(cls, path: Path) -> WordClusters:
        """What `save` wrote.

        Raises:
            SlonikError: the file is missing or damaged.
        """
        try:
            first, *lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
            pairs = (line.split("\t") for line in lines)
            return cls({word: int(number) for word, number in pairs}, [int(number) for number in first.split()])
        except (OSError, EOFError, ValueError) as error:
            raise SlonikError(f"{path} is missing or damaged ({error}): copy the folder whole") from None


def cluster_words(words: Iterable[str], count: int, *, seed: int = 0) -> WordClusters:
    """Cluster navec's words.

    Args:
        words: of the training texts, in lower case: clusters are made of those that have a vector.
        count: fine clusters, fewer where there are fewer words.

    Raises:
        MissingExtra: natasha is not installed.
    """
    path = navec_path()
    from navec import Navec

    loaded = Navec.load(path)
    names = loaded.vocab.words[: len(loaded.vocab.words) - 2]  # without <unk> and <pad>, which stand last
    rows = {word: row for row, word in enumerate(names)}
    chosen = sorted({rows[word] for word in words if word in rows})
    if not chosen:
        return WordClusters({}, ())
    rng = np.random.default_rng(derive_seed(seed, "word clusters", count))
    centres = spherical_k_means(_unpack(loaded.pq, chosen), min(count, len(chosen)), rng)
    coarse_centres = spherical_k_means(centres, max(1, len(centres) // _FINE_PER_COARSE), rng)
    coarse = _nearest(centres, coarse_centres).tolist()
    numbers: dict[str, int] = {}
    for start in range(0, len(names), _BLOCK):
        block = list(range(start, min(len(names), start + _BLOCK)))
        found = _nearest(_unpack(loaded.pq, block), centres)
        numbers.update(zip((names[row] for row in block), found.tolist(), strict=True))
    return WordClusters(numbers, coarse)


def spherical_k_means(vectors: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    """Centres (count, D) of unit length for unit vectors (N, D); a centre that loses all its vectors stays."""
    centres = vectors[np.sort(rng.choice(len(vectors), count, replace=False))].copy()
    for _ in range(_ROUNDS):
        nearest = _nearest(vectors, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, vectors)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
    return centres


def _nearest(vectors: Vectors, centres: Vectors) -> NDArray[np.intp]:
    """The centre with the greatest cosine for each vector."""
    blocks = [vectors[start : start + _BLOCK] @ centres.T for start in range(0, len(vectors), _BLOCK)]
    return np.concatenate([block.argmax(axis=1) for block in blocks])


def _unpack(quantised: Any, rows: Sequence[int]) -> Vectors:
    """Unit vectors (N, D) of navec's product-quantised rows."""
    codes = np.asarray(quantised.codes, dtype=np.float32)  # (parts, codes, numbers)
    chosen = np.asarray(quantised.indexes)[np.asarray(rows)]  # (N, parts)
    vectors = codes[np.arange(codes.shape[0]), chosen].reshape(len(rows), -1)
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
