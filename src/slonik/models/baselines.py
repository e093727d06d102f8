"""Baseline encoders that learn nothing here: hashed words or characters, and the mean of navec word vectors.

They stand in every table so that a score can be read against something free. `hashing_N` is scikit-learn's
HashingVectorizer with its defaults and N features (the published encodechka rows follow from it);
`hashing_N_char` counts character n-grams of 2 to 6. A prefix is put before the text only when one is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra
from slonik.core.hashing import sha256_file, sha256_json
from slonik.core.protocols import Encoder, FloatArray
from slonik.data.natasha_package import NAVEC, natasha_file
from slonik.text.tokenizing import check_texts


class HashingEncoder:
    """scikit-learn's HashingVectorizer as an encoder.

    Args:
        name: what it is called in tables.
        dimension: number of hash buckets, D.
        options: further arguments of HashingVectorizer; its defaults otherwise (words, signed, L2 norm).
    """

    def __init__(self, name: str, dimension: int, **options: Any) -> None:
        try:
            from sklearn.feature_extraction.text import HashingVectorizer
        except ModuleNotFoundError:
            raise MissingExtra(f"the baseline {name}", "evaluate", "scikit-learn") from None
        self.name = name
        self.dimension = dimension
        self._options = options
        self._vectorizer = HashingVectorizer(n_features=dimension, **options)

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        """Vectors (N, D); no prefix unless one is given."""
        check_texts(texts)
        if len(texts) == 0:
            return np.zeros((0, self.dimension), dtype=np.float32)
        hashed = self._vectorizer.transform([prefix + text for text in texts] if prefix else list(texts))
        return np.asarray(hashed.toarray(), dtype=np.float32)

    def identity(self) -> str:
        options = {"n_features": self.dimension, **self._options}
        return sha256_json({"HashingVectorizer": {k: str(v) for k, v in options.items()}})

    def describe(self) -> dict[str, Any]:
        """Facts: no parameters; the hash covers the options."""
        options = {"n_features": self.dimension, **self._options}
        return {
            "name": self.name,
            "model_type": "hashing",
            "dimension": self.dimension,
            "parameters": 0,
            "bytes": 0,
            "options": options,
            "weights_hash": self.identity(),
        }


class NavecEncoder:
    """Mean of the navec vectors of a text's words (news, 250,000 words, 300 dimensions; natasha carries them, MIT).

    Words are razdel's tokens in lower case; words without a vector are left out; a text without any known word
    is the zero vector. The vectors stay quantised (25 MB): only the words of a call are unpacked.
    """

    name = "navec"

    def __init__(self) -> None:
        self._path = navec_path()
        from navec import Navec
        from razdel import tokenize

        self._navec = Navec.load(self._path)
        self._tokenize = tokenize
        self.dimension = int(self._navec.pq.dim)

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        """Vectors (N, D), not normalised; no prefix unless one is given."""
        check_texts(texts)
        words = [self._word_ids(prefix + text if prefix else text) for text in texts]
        used, places = np.unique(np.concatenate([*words, np.zeros(0, np.int64)]), return_inverse=True)
        table = self._unpack(used)  # (U, D), the words of this call
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        start = 0
        for index, ids in enumerate(words):
            if len(ids):
                vectors[index] = table[places[start : start + len(ids)]].mean(0)
            start += len(ids)
        return vectors

    def identity(self) -> str:
        return sha256_file(self._path)

    def describe(self) -> dict[str, Any]:
        """Facts: the size of the quantised table, and the hash of its file."""
        pq = self._navec.pq
        return {
            "name": self.name,
            "model_type": "navec",
            "dimension": self.dimension,
            "parameters": int(pq.vectors) * int(pq.dim),
            "embedding_parameters": int(pq.vectors) * int(pq.dim),
            "encoder_parameters": 0,
            "bytes": self._path.stat().st_size,
            "vocab": int(pq.vectors),
            "weights_hash": self.identity(),
        }

    def _word_ids(self, text: str) -> NDArray[np.int64]:
        ids = self._navec.vocab.word_ids
        found = [ids[word] for token in self._tokenize(text) if (word := token.text.lower()) in ids]
        return np.array(found, dtype=np.int64)

    def _unpack(self, ids: NDArray[np.int64]) -> FloatArray:
        """Rows `ids` of the product-quantised table, (U, D)."""
        pq = self._navec.pq
        parts = pq.codes[np.arange(pq.qdim), pq.indexes[ids]]  # (U, qdim, D / qdim)
        return np.asarray(parts.reshape(len(ids), self.dimension), dtype=np.float32)


def navec_path() -> Path:
    """The file of navec vectors in the installed natasha; raises as `natasha_file`."""
    return natasha_file(NAVEC, "the baseline navec")


_CHARACTERS: dict[str, Any] = {"analyzer": "char", "ngram_range": (2, 6)}

# Name -> how to make it.
BASELINES: dict[str, Callable[[], Encoder]] = {
    "hashing_300": lambda: HashingEncoder("hashing_300", 300),
    "hashing_1000": lambda: HashingEncoder("hashing_1000", 1000),
    "hashing_300_char": lambda: HashingEncoder("hashing_300_char", 300, **_CHARACTERS),
    "hashing_1000_char": lambda: HashingEncoder("hashing_1000_char", 1000, **_CHARACTERS),
    "navec": NavecEncoder,
}
