"""Long documents in overlapping windows, each word labelled by the window that sees most around it.

Pure index arithmetic, and the arrays of one window; nothing here tokenises or runs a model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from slonik.text.batching import windows

_SENTENCE_ENDS = ("\n", ". ", "! ", "? ", "; ", " ")


@dataclass(frozen=True)
class Window:
    """One input of a tagger.

    Attributes:
        first, stop: the words of the text that it labels.
        fields: arrays for the batch, in small integer types (a whole corpus of them is kept): `input_ids` and
            `attention_mask` (T,), `positions` (stop - first,) place of each of these words among the T tokens, and
            `word_mask` (stop - first,) True.
    """

    first: int
    stop: int
    fields: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Share:
    """Tokens `start` to `end` of a text, of which those from `own_start` to `own_end` are this window's to label."""

    start: int
    end: int
    own_start: int
    own_end: int


def shares(length: int, size: int, overlap: int) -> list[Share]:
    """Windows over `length` tokens; neighbours share `overlap`, and the border between them is its middle."""
    cut = windows(length, size, overlap)
    borders = [(before[1] + after[0]) // 2 for before, after in itertools.pairwise(cut)]
    starts, ends = [0, *borders], [*borders, length]
    return [Share(*span, first, last) for span, first, last in zip(cut, starts, ends, strict=True)]


def segments(text: str, longest: int) -> Iterator[tuple[int, int]]:
    """Cut a text into stretches of at most `longest` characters, at line ends, else at sentence ends, else at spaces.

    What needs memory for a whole text (tokens, scores) then needs it for a stretch only; context ends at the cut.
    """
    start = 0
    while len(text) - start > longest:
        half = start + longest // 2
        cuts = (text.rfind(mark, half, start + longest) + len(mark) for mark in _SENTENCE_ENDS)
        end = next((cut for cut in cuts if cut > half), start + longest)
        yield start, end
        start = end
    yield start, len(text)
