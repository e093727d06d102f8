"""Texts to the inputs of an encoder tagger: windows of pieces, and the first piece of each word.

The text is cut into pieces as a whole, as in pre-training; a word belongs to the first piece that covers any of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import Offsets, tokenize
from slonik.tagging.models.name_list import NameList
from slonik.tagging.models.windows import Window, shares
from slonik.text.tokenizing import template_of


class PieceFeatures:
    """Makes inputs of texts for an encoder.

    Args:
        tokenizer: of the encoder.
        window: the most tokens of one input, specials included.
        overlap: tokens that neighbouring inputs share.
        names: what training texts called the names of a text; None = not asked.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, window: int = 256, overlap: int = 64, names: NameList | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self.names = names
        self._template = template_of(tokenizer)
        self.window = window
        self.overlap = min(overlap, (window - self._template.size) // 2)

    def split(self, text: str) -> list[Offsets]:
        """Words of a text."""
        return tokenize(text)

    def windows(
        self, text: str, words: Sequence[Offsets], overlap: int | None = None, own: Sequence[Span] | None = None
    ) -> list[Window]:
        """Inputs that together label every word once; none for a text without words.

        Args:
            overlap: tokens that neighbours share; None = as for tagging.
            own: spans of a text that is trained on: the list of names is asked without them.
        """
        if not words:
            return []
        evidence = self.names.evidence(text, words, own) if self.names is not None else None
        ids, first_pieces = self._pieces(text, words)
        head, tail = list(self._template.head), list(self._template.tail)
        found = []
        room = max(1, self.window - self._template.size)
        for share in shares(len(ids), room, self.overlap if overlap is None else overlap):
            first, stop = np.searchsorted(first_pieces, [share.own_start, share.own_end], side="left")
            if first == stop:
                continue
            row = np.array([*head, *ids[share.start : share.end], *tail], dtype=np.int32)
            fields: dict[str, NDArray[Any]] = {
                "input_ids": row,
                "attention_mask": np.ones(len(row), dtype=np.int8),
                "positions": (first_pieces[first:stop] - share.start + len(head)).astype(np.int32),
                "word_mask": np.ones(stop - first, dtype=np.bool_),
            }
            if evidence is not None:
                fields["names"] = evidence[first:stop]
            found.append(Window(int(first), int(stop), fields))
        return found

    def add_forms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The batch as it is: pieces need no further rows."""
        return dict(batch)

    def forget(self) -> None:
        """Nothing is kept between texts."""

    def _pieces(self, text: str, words: Sequence[Offsets]) -> tuple[list[int], NDArray[np.int64]]:
        """Ids of the pieces, and for each word the number of its first one (of the next one if none covers it)."""
        encoding = _encode(self._tokenizer, text)
        ids = list(encoding.ids) or [0]
        ends = np.maximum.accumulate(np.array([end for _, end in encoding.offsets] or [0], dtype=np.int64))
        starts = np.array([start for start, _ in words], dtype=np.int64)
        places = np.searchsorted(ends, starts, side="right")
        return ids, np.minimum(places, len(ids) - 1).astype(np.int64)


def _encode(tokenizer: Tokenizer, text: str) -> Encoding:
    try:
        return tokenizer.encode(text, add_special_tokens=False)
    except (TypeError, UnicodeEncodeError):  # a lone surrogate: one sign for one sign, so that offsets stay
        return tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8"), add_special_tokens=False)
