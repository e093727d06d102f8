"""Texts that must meet in one batch, for losses that compare them.

Does the arithmetic of batches made of whole groups; which texts belong together is the caller's business.
"""

from __future__ import annotations

import numpy as np

from slonik.train.protocols import IntArray


class Groups:
    """Groups of texts; a text on its own is a group of one.

    Args:
        numbers: (N,) group of each text, -1 for none. lengths: (N,) tokens of each text.
    """

    def __init__(self, numbers: IntArray, lengths: IntArray) -> None:
        alone = numbers < 0
        first_free = int(numbers.max()) + 1
        numbers = np.where(alone, first_free + np.arange(len(numbers)), numbers)
        self._order = np.argsort(numbers, kind="stable").astype(np.int64)
        borders = np.flatnonzero(np.diff(numbers[self._order])) + 1
        self._starts = np.concatenate([[0], borders, [len(numbers)]]).astype(np.int64)
        self._sizes = np.diff(self._starts)
        self.longest = np.maximum.reduceat(np.asarray(lengths)[self._order], self._starts[:-1]).astype(np.int64)
        """(G,) tokens of the longest text of each group."""

    def batches(self, groups: IntArray, max_tokens: int, max_texts: int) -> list[IntArray]:
        """Text numbers of batches that hold the given groups whole, longest batch first.

        A group that is too large for the budget is a batch alone.
        """
        made: list[IntArray] = []
        batch: list[IntArray] = []
        texts = longest = 0
        for group in groups[np.argsort(-self.longest[groups], kind="stable")]:
            size = int(self._sizes[group])
            if batch and (texts + size > max_texts or (texts + size) * longest > max_tokens):
                made.append(np.concatenate(batch))
                batch, texts = [], 0
            if not batch:
                longest = int(self.longest[group])
            batch.append(self._order[self._starts[group] : self._starts[group + 1]])
            texts += size
        return [*made, np.concatenate(batch)] if batch else made
