"""Which texts share one row of a batch, so that nothing is padded. Pure index arithmetic on lengths.

Best fit decreasing over a pool of texts: rows come out more than 99 % full at usual lengths. Which rows a batch holds,
and how documents in a row are kept from seeing one another, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pack_best_fit(lengths: Sequence[int] | NDArray[np.int64], size: int) -> list[list[int]]:
    """Put texts into rows of at most `size` tokens, each into the fullest row that has room.

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
