"""Words of a text as inputs of an encoder: windows of tokens, and which token speaks for each word.

A text is cut into tokens as a whole, as in pre-training; a word belongs to the first token that covers any of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.hashing import sha256_json
from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import Offsets, tokenize
from slonik.runtime.tagging.names import NameList
from slonik.runtime.tagging.windows import Window, shares
from slonik.text.tokenizing import encode, template_of


class TokenFeatures:
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

    def identity(self) -> str:
        """sha256 of what decides the inputs of a text beside the tokenizer, which the task model's identity has."""
        return sha256_json([self.window, self.overlap, self.names.content_hash() if self.names is not None else None])

    def split(self, text: str) -> list[Offsets]:
        return tokenize(text)

    def windows(
        self, text: str, words: Sequence[Offsets], overlap: int | None = None, own: Sequence[Span] | None = None
    ) -> list[Window]:
        if not words:
            return []
        evidence = self.names.evidence(text, words, own) if self.names is not None else None
        ids, firsts = self._tokens(text, words)
        head, tail = list(self._template.head), list(self._template.tail)
        found = []
        room = max(1, self.window - self._template.size)
        for share in shares(len(ids), room, self.overlap if overlap is None else overlap):
            first, stop = np.searchsorted(firsts, [share.own_start, share.own_end], side="left")
            if first == stop:
                continue
            row = np.array([*head, *ids[share.start : share.end], *tail], dtype=np.int32)
            fields: dict[str, NDArray[Any]] = {
                "input_ids": row,
                "attention_mask": np.ones(len(row), dtype=np.int8),
                "positions": (firsts[first:stop] - share.start + len(head)).astype(np.int32),
                "word_mask": np.ones(stop - first, dtype=np.bool_),
            }
            if evidence is not None:
                fields["names"] = evidence[first:stop]
            found.append(Window(int(first), int(stop), fields))
        return found

    def add_forms(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch as it is: tokens need no further rows."""
        return dict(batch)

    def forget(self) -> None:
        """Nothing is kept between texts."""

    def _tokens(self, text: str, words: Sequence[Offsets]) -> tuple[list[int], NDArray[np.int64]]:
        """Ids of the tokens, and for each word the place of its first one (of the next one if none covers it)."""
        encoding = encode(self._tokenizer, text)
        ids = list(encoding.ids) or [0]
        ends = np.maximum.accumulate(np.array([end for _, end in encoding.offsets] or [0], dtype=np.int64))
        starts = np.array([start for start, _ in words], dtype=np.int64)
        places = np.searchsorted(ends, starts, side="right")
        return ids, np.minimum(places, len(ids) - 1).astype(np.int64)
