"""Which texts go through a model together: batches by token budget, and windows over long texts.

Pure index arithmetic: nothing here runs a model or a tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def token_budget_batches(
    lengths: Sequence[int] | NDArray[np.int64], max_tokens: int, max_texts: int = 512
) -> list[NDArray[np.int64]]:
    """Group texts of similar length so that padded batches stay within a budget.

    Args:
        lengths: tokens of each text, specials included.
        max_tokens: the most tokens of a padded batch (texts x longest); a single longer text is a batch alone.
        max_texts: the most texts of a batch.

    Returns:
        Index arrays that together hold every text once, longest batch first: memory peaks at once, not late.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches: list[NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[int(order[start])]))
        size = max(1, min(max_texts, max_tokens // longest))
        batches.append(order[start : start + size])
        start += size
    return batches


def windows(length: int, size: int, overlap: int = 0) -> list[tuple[int, int]]:
    """Cover `length` tokens with windows of at most `size`.

    Args:
        length: tokens of the text without specials.
        size: the most tokens of one window without specials.
        overlap: tokens that neighbours share; less than `size`.

    Returns:
        (start, end) pairs; one (0, length) when the text fits.
    """
    if length <= size:
        return [(0, length)]
    step = size - overlap
    starts = range(0, length - overlap, step)
    return [(start, min(start + size, length)) for start in starts]
