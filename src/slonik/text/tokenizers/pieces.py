"""What an objective must know of a vocabulary: which ids are special, where words begin, what stands for what.

Plain arrays: objectives never see a tokenizer. Recipes read them off one. V is the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError


@dataclass(frozen=True)
class Pieces:
    """Facts about the ids of one vocabulary.

    Attributes:
        special: (V,) True for ids that are no text: never masked, never put in as a random word.
        starts_word: (V,) True for pieces that begin a word or are no word (punctuation).
        bytes: (V,) UTF-8 bytes of the text that a piece stands for, its leading space included; 0 for specials.
        pad: id of padding.
        mask, bos, eos, cls, sep: ids, None where the vocabulary has no such token.
        sentinels: ids of `<extra_id_0>`, `<extra_id_1>`, ... in this order.
        named: every special token by its text: prefixes of denoisers are found here.
    """

    special: NDArray[np.bool_]
    starts_word: NDArray[np.bool_]
    bytes: NDArray[np.int64]
    pad: int
    mask: int | None = None
    bos: int | None = None
    eos: int | None = None
    cls: int | None = None
    sep: int | None = None
    sentinels: tuple[int, ...] = ()
    named: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """V."""
        return len(self.special)

    @property
    def ordinary(self) -> NDArray[np.int64]:
        """Ids that are text, ascending: random words are drawn from these."""
        return np.flatnonzero(~self.special)

    def need(self, role: str, purpose: str) -> int:
        """The id of the special token `role` (an attribute above).

        Raises:
            SlonikError: the vocabulary has none.
        """
        found = getattr(self, role)
        if found is None:
            raise SlonikError(
                f"the tokenizer has no {role} token, and {purpose} needs one: train a tokenizer for this family "
                "(slonik tokenizer train --family ...)"
            )
        return int(found)

    def need_named(self, token: str) -> int:
        """The id of the special token with the text `token`.

        Raises:
            SlonikError: the vocabulary has none.
        """
        if token not in self.named:
            raise SlonikError(
                f"the tokenizer has no special token {token!r}: train it with --special '{token}', or with the "
                "--family whose denoisers these are (fred-t5, ul2)"
            )
        return self.named[token]
