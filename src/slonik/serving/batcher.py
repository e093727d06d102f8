"""Which waiting texts go through the model together: pure arithmetic on lengths, no threads and no model.

The batch always holds the text that has waited longest, so nothing starves, and grows from it to the nearest
lengths on either side, so little is wasted on padding.
"""

from __future__ import annotations

from collections.abc import Sequence

_SPREAD_TOKENS = 16  # texts of at most this difference share a batch whatever their length
_SPREAD_RATIO = 0.25  # above that, a text may be padded by this share of the longest


def choose_batch(lengths: Sequence[int], max_tokens: int, max_texts: int = 256) -> list[int]:
    """Positions of the texts of the next batch.

    Args:
        lengths: tokens of each waiting text, the one that has waited longest first.
        max_tokens: the most tokens of a padded batch (texts x longest); the first text is taken even if longer.
        max_texts: the most texts of a batch.

    Returns:
        Positions in order of length; position 0 is among them. Empty when nothing waits.
    """
    if not lengths:
        return []
    order = sorted(range(len(lengths)), key=lambda position: (lengths[position], position))
    sizes = [lengths[position] for position in order]
    low = order.index(0)
    high = low + 1
    while high - low < max_texts:
        step = _cheaper_side(sizes, low, high, max_tokens)
        if step == 0:
            break
        low, high = (low - 1, high) if step < 0 else (low, high + 1)
    return order[low:high]


def _cheaper_side(sizes: Sequence[int], low: int, high: int, max_tokens: int) -> int:
    """-1 to take the next shorter text, 1 the next longer, 0 when neither fits."""
    shorter = _padding(sizes, low - 1, high, max_tokens) if low > 0 else None
    longer = _padding(sizes, low, high + 1, max_tokens) if high < len(sizes) else None
    if shorter is None:
        return 0 if longer is None else 1
    return -1 if longer is None or shorter <= longer else 1


def _padding(sizes: Sequence[int], low: int, high: int, max_tokens: int) -> int | None:
    """Padded tokens added to sizes[low:high] by its outermost texts; None when it may not be a batch."""
    shortest, longest = sizes[low], sizes[high - 1]
    if longest * (high - low) > max_tokens:
        return None
    if longest - shortest > max(_SPREAD_TOKENS, int(longest * _SPREAD_RATIO)):
        return None
    return longest - shortest
