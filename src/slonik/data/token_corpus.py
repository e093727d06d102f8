"""A tokenised corpus: all tokens one after another, and where sentences and documents begin.

In memory or memory-mapped in parts (see `shards`); either way a range of tokens is read without touching the rest.
Holds no special tokens. Does not tokenise, and does not say how tokens become training sequences
(`sequence_formats` does).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class TokenCorpus:
    """T tokens in S sentences in N documents.

    Args:
        parts: arrays of token ids that together hold all tokens, in order.
        sentences: (S + 1,) where each sentence begins, and the end.
        documents: (N + 1,) number of the first sentence of each document, and S.
        key: hash of what the corpus was made from; part of a loader's fingerprint.
    """

    def __init__(
        self, parts: Sequence[NDArray[np.integer]], sentences: IntArray, documents: IntArray, key: str = ""
    ) -> None:
        self._parts = list(parts)
        self._starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        self.sentences, self.documents, self.key = sentences, documents, key

    def __len__(self) -> int:
        """How many documents there are."""
        return len(self.documents) - 1

    @property
    def token_count(self) -> int:
        """T."""
        return int(self._starts[-1])

    @property
    def document_starts(self) -> IntArray:
        """(N + 1,) the first token of each document, and T."""
        return self.sentences[self.documents]

    def tokens(self, start: int, end: int) -> IntArray:
        """Ids of tokens start .. end - 1."""
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        found: list[NDArray[np.integer]] = []
        while start < end:
            offset = int(self._starts[first])
            stop = min(end, int(self._starts[first + 1]))
            found.append(self._parts[first][start - offset : stop - offset])
            start, first = stop, first + 1
        if not found:
            return np.zeros(0, dtype=np.int64)
        return np.concatenate(found).astype(np.int64) if len(found) > 1 else found[0].astype(np.int64)

    def document(self, number: int) -> IntArray:
        """Ids of a document."""
        starts = self.sentences[self.documents[number : number + 2]]
        return self.tokens(int(starts[0]), int(starts[1]))

    def subset(self, numbers: Sequence[int], key: str = "") -> TokenCorpus:
        """The documents `numbers`, in this order, as a corpus in memory."""
        parts, sentences = [np.zeros(0, dtype=np.int64)], []
        for number in numbers:
            parts.append(self.document(number))
            first, last = int(self.documents[number]), int(self.documents[number + 1])
            sentences.append(np.diff(self.sentences[first : last + 1]))
        counts = np.concatenate([[0], np.cumsum([len(lengths) for lengths in sentences])]).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(np.concatenate([np.zeros(0, np.int64), *sentences]))]).astype(np.int64)
        return TokenCorpus([np.concatenate(parts)], starts, counts, key)

    @classmethod
    def of(cls, documents: Sequence[Sequence[Sequence[int]]], key: str = "") -> TokenCorpus:
        """Documents of sentences of ids, in memory; empty sentences and documents are left out."""
        kept = [[sentence for sentence in document if len(sentence)] for document in documents]
        kept = [document for document in kept if document]
        lengths = [len(sentence) for document in kept for sentence in document]
        flat = [token for document in kept for sentence in document for token in sentence]
        sentences = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        counts = np.concatenate([[0], np.cumsum([len(document) for document in kept])]).astype(np.int64)
        return cls([np.asarray(flat, dtype=np.int32)], sentences, counts, key)
