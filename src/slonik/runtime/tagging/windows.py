"""Inputs of a network that tags: documents in overlapping windows, each word labelled by the one that sees most.

`Features` is what every kind of network makes its inputs with. Pure index arithmetic and arrays: nothing here tokenises
or runs a model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import Offsets
from slonik.runtime.tagging.names import NameList
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


class Features(Protocol):
    """Texts to inputs of a network.

    Attributes:
        names: the list of names that it reads, if any.
    """

    names: NameList | None

    def identity(self) -> str:
        """sha256 of everything that decides the inputs of a text."""
        ...

    def split(self, text: str) -> list[Offsets]:
        """Words of a text."""
        ...

    def windows(
        self, text: str, words: Sequence[Offsets], overlap: int | None = None, own: Sequence[Span] | None = None
    ) -> list[Window]:
        """Inputs that together label every word once; none for a text without words.

        Args:
            overlap: tokens that neighbours share; None = as for tagging.
            own: spans of a text that is trained on: the list of names is asked without them.
        """
        ...

    def add_forms(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What a padded batch, of tensors, needs besides."""
        ...

    def forget(self) -> None:
        """Drop what was kept of the texts seen, if it is much; called when no window is in use."""
        ...


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
