"""Which texts go through a model together, and how their rows of ids become one array.

Batches by token budget, windows over long texts, rows that hold several texts, and padding. Index arithmetic and numpy
only: nothing here runs a model or a tokenizer. The padding id is `slonik.text.tokenizing.pad_id`'s to say.

Shapes: N texts, B texts of a batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


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


def pad_ids(
    rows: Sequence[Sequence[int] | NDArray[np.integer]], pad_id: int, *, left: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of ids as one array, padded to the longest, and its mask.

    Args:
        rows: ids of B texts, specials included.
        pad_id: id of the padding token.
        left: pad at the beginning (a decoder goes on from the end); otherwise at the end.

    Returns:
        ids (B, T) and mask (B, T), 1 for the tokens of a text.
    """
    longest = max(map(len, rows), default=0)
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        where = slice(longest - len(row), longest) if left else slice(len(row))
        ids[place, where] = row
        mask[place, where] = 1
    return ids, mask


def pad_arrays(arrays: Sequence[ArrayLike], fill: float = 0, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Arrays of unequal shapes and equal rank as one (N, ...), every axis padded at its end.

    Args:
        fill: the value to pad with.
        dtype: of the result; None = that of the first array, int64 for whole numbers.
    """
    found = [np.asarray(array) for array in arrays]
    kind = dtype or (np.int64 if found[0].dtype.kind in "iu" else found[0].dtype)
    shape = tuple(max(sizes) for sizes in zip(*(array.shape for array in found), strict=True))
    stacked = np.full((len(found), *shape), fill, dtype=kind)
    for place, array in enumerate(found):
        where: Any = (place, *map(slice, array.shape))
        stacked[where] = array
    return stacked


def pad_fields(examples: Sequence[Mapping[str, ArrayLike]], fill: Mapping[str, float] = {}) -> dict[str, NDArray[Any]]:
    """Every field of the examples as one (B, ...) by `pad_arrays`: int64, float32 or bool.

    Args:
        fill: field -> value to pad with; 0 for fields that are not named.
    """
    made = {}
    for name in examples[0]:
        arrays = [np.asarray(example[name]) for example in examples]
        dtype: type = {"f": np.float32, "b": np.bool_}.get(arrays[0].dtype.kind, np.int64)
        made[name] = pad_arrays(arrays, fill.get(name, 0), dtype)
    return made


def pack_best_fit(lengths: Sequence[int] | NDArray[np.int64], size: int) -> list[list[int]]:
    """Put texts into rows of at most `size` tokens, so that nothing is padded: each into the fullest row with room.

    Best fit decreasing: rows come out more than 99 % full at usual lengths. How documents in a row are kept from seeing
    one another is decided elsewhere.

    Args:
        lengths: tokens of each text, each at most `size`; texts without tokens are left out.
        size: tokens of a row.

    Returns:
        For each row the indices of its texts.

    Raises:
        ValueError: a text is longer than a row.
    """
    found = np.asarray(lengths, dtype=np.int64)
    if len(found) and int(found.max()) > size:
        raise ValueError(f"a text of {int(found.max())} tokens does not fit into a row of {size}")
    open_rows: list[list[int]] = [[] for _ in range(size + 1)]  # room left -> rows with that room
    rows: list[list[int]] = []
    for index in np.argsort(-found, kind="stable").tolist():
        length = int(found[index])
        if length == 0:
            continue
        room = next((left for left in range(length, size) if open_rows[left]), None)
        if room is None:
            rows.append([index])
            open_rows[size - length].append(len(rows) - 1)
        else:
            row = open_rows[room].pop()
            rows[row].append(index)
            open_rows[room - length].append(row)
    return rows


def pack_in_order(lengths: Sequence[int] | NDArray[np.int64], size: int) -> list[list[int]]:
    """Put texts into rows of at most `size` tokens in their order; a row is closed by the first text that does not fit.

    Never more rows than any other division of the same order into neighbours: texts in the order of `pack_best_fit`'s
    rows come back in at most as many.

    Raises:
        ValueError: a text is longer than a row.
    """
    rows: list[list[int]] = []
    room = 0
    for index, length in enumerate(int(value) for value in lengths):
        if length > size:
            raise ValueError(f"a text of {length} tokens does not fit into a row of {size}")
        if length == 0:
            continue
        if length > room:
            rows.append([])
            room = size
        rows[-1].append(index)
        room -= length
    return rows
