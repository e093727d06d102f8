"""A fixed table of word vectors, product-quantised: 250,000 navec words in 25 MB, unpacked row by row as needed.

The table is read from the package natasha when a tagger is made, and saved with the tagger, which then needs that
package no more. It is never trained.

Source: Jegou, Douze, Schmid 2011 (product quantisation); navec news v1, MIT.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from slonik.core import files
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes, sha256_json

VECTORS_FILE = "words.safetensors"
WORDS_FILE = "words.txt"


class WordTable:
    """V words with vectors of Q parts, each part one of K codes of S numbers; D = Q S.

    Args:
        words: V words in lower case.
        codes: (Q, K, S) float32.
        indexes: (V, Q) uint8 code of each part.
    """

    def __init__(self, words: Sequence[str], codes: NDArray[np.float32], indexes: NDArray[np.uint8]) -> None:
        self.words = tuple(words)
        self.numbers = {word: number for number, word in enumerate(self.words)}
        self.dimension = codes.shape[0] * codes.shape[2]
        # Row V is the zero vector of unknown words: one more code, all zero, in every part.
        zero = np.zeros((codes.shape[0], 1, codes.shape[2]), np.float32)
        self._codes = torch.from_numpy(np.concatenate([codes, zero], 1))
        self._indexes = torch.from_numpy(np.array(indexes))  # a copy: what was read from a file may not be writable
        self._parts = torch.arange(codes.shape[0])

    @property
    def unknown(self) -> int:
        """The number of words without a vector."""
        return len(self.words)

    def number(self, word: str) -> int:
        """The row of `word` in lower case, also spelt with е for ё; `unknown` without one."""
        lower = word.lower()
        found = self.numbers.get(lower)
        return self.numbers.get(lower.replace("ё", "е"), self.unknown) if found is None else found

    def vectors(self, numbers: Tensor) -> Tensor:
        """(U,) rows -> (U, D) float32; zeros for `unknown`."""
        known = numbers < self.unknown
        chosen = self._indexes[torch.where(known, numbers, 0)].long()
        chosen = torch.where(known[:, None], chosen, self._codes.shape[1] - 1)
        return self._codes[self._parts, chosen].flatten(1)

    def content_hash(self) -> str:
        """Hash of words and vectors."""
        parts = [self._codes[:, :-1].numpy().tobytes(), self._indexes.numpy().tobytes(), "\n".join(self.words).encode()]
        return sha256_json([sha256_bytes(part) for part in parts])

    def save(self, folder: Path) -> None:
        """Write the table into `folder`: `words.safetensors` and `words.txt`."""
        codes = np.ascontiguousarray(self._codes[:, :-1].numpy())
        save_file({"codes": codes, "indexes": self._indexes.numpy()}, str(folder / VECTORS_FILE))
        files.write_text(folder / WORDS_FILE, "".join(f"{word}\n" for word in self.words))

    @classmethod
    def open(cls, folder: Path) -> WordTable:
        """The table that `save` wrote.

        Raises:
            SlonikError: files are missing or damaged.
        """
        try:
            tensors = load_file(str(folder / VECTORS_FILE))
            words = (folder / WORDS_FILE).read_text(encoding="utf-8").split("\n")[:-1]
            table = cls(words, tensors["codes"], tensors["indexes"])
        except (OSError, SafetensorError, KeyError, UnicodeDecodeError) as error:
            raise SlonikError(f"the word vectors in {folder} are missing or damaged ({error}): copy it again") from None
        if len(words) != len(tensors["indexes"]):
            raise SlonikError(f"{folder / WORDS_FILE} has {len(words)} words for {len(tensors['indexes'])} vectors")
        return table


def navec_table() -> WordTable:
    """The navec vectors that natasha carries (news, 250,000 words, 300 dimensions).

    Raises:
        MissingExtra: natasha is not installed.
    """
    from slonik.models.baselines import navec_path

    path = navec_path()
    from navec import Navec

    loaded = Navec.load(path)
    known = len(loaded.vocab.words) - 2  # without <unk> and <pad>, which stand last
    return WordTable(loaded.vocab.words[:known], loaded.pq.codes, loaded.pq.indexes[:known])
