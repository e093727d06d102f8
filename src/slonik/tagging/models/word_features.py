"""Texts to the inputs of a word-level tagger: rows of the word table, of the learnt words, and characters.

Every distinct word form is looked up once and kept in a lexicon; a batch carries its distinct forms and, per word,
which of them it is. Nothing here is trained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import Offsets, tokenize
from slonik.tagging.models.name_list import NameList
from slonik.tagging.models.windows import Window, shares
from slonik.tagging.models.word_table import WordTable
from slonik.text.batching import pad_arrays

LONGEST_WORD = 24
_TAIL = 8  # letters kept from the end of a longer word
_UNKNOWN = 1  # of characters and of learnt words; 0 pads
_LARGEST_LEXICON = 300_000


class WordFeatures:
    """Looks words up; the part of a BiLSTM tagger that is not a network.

    Args:
        table: fixed word vectors.
        words: words in lower case with a learnt vector each; number 2 on, in this order.
        characters: known characters; number 2 on.
        window: words of one input.
        overlap: words that neighbouring inputs share.
        names: what training texts called the names of a text; None = not asked.
    """

    def __init__(
        self,
        table: WordTable,
        words: Sequence[str],
        characters: str,
        *,
        window: int = 64,
        overlap: int = 16,
        names: NameList | None = None,
    ) -> None:
        self.table = table
        self.names = names
        self.words, self.characters = tuple(words), characters
        self.window, self.overlap = window, overlap
        self._word_numbers = {word: number for number, word in enumerate(words, _UNKNOWN + 1)}
        self._character_numbers = {sign: number for number, sign in enumerate(characters, _UNKNOWN + 1)}
        self._forms: dict[str, int] = {}
        self._rows: list[tuple[int, int, list[int]]] = []
        self._pinned = 0

    @property
    def alphabet(self) -> int:
        """How many character numbers there are."""
        return len(self.characters) + _UNKNOWN + 1

    @property
    def learnt(self) -> int:
        """How many numbers of learnt words there are."""
        return len(self.words) + _UNKNOWN + 1

    def split(self, text: str) -> list[Offsets]:
        """Words of a text."""
        return tokenize(text)

    def windows(
        self, text: str, words: Sequence[Offsets], overlap: int | None = None, own: Sequence[Span] | None = None
    ) -> list[Window]:
        """Inputs that together label every word once.

        Args:
            overlap: words that neighbours share; None = as for tagging.
            own: spans of a text that is trained on: the list of names is asked without them.
        """
        evidence = self.names.evidence(text, words, own) if self.names is not None else None
        forms = np.array([self._form(text[start:end]) for start, end in words], dtype=np.int32)
        found = []
        for share in shares(len(words), self.window, self.overlap if overlap is None else overlap):
            if share.own_end == share.own_start:
                continue
            owned = share.own_end - share.own_start
            fields: dict[str, NDArray[Any]] = {
                "input_ids": forms[share.start : share.end],
                "attention_mask": np.ones(share.end - share.start, dtype=np.int8),
                "positions": np.arange(owned, dtype=np.int32) + np.int32(share.own_start - share.start),
                "word_mask": np.ones(owned, dtype=np.bool_),
            }
            if evidence is not None:
                fields["names"] = evidence[share.start : share.end]
            found.append(Window(share.own_start, share.own_end, fields))
        return found

    def add_forms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A padded batch with its distinct forms: `input_ids` become numbers of `form_...` rows.

        Adds `form_table` (U,), `form_word` (U,) and `form_characters` (U, C).
        """
        distinct, places = np.unique(batch["input_ids"].numpy(), return_inverse=True)
        rows = [self._rows[number] for number in distinct] or [(self.table.unknown, _UNKNOWN, [_UNKNOWN])]
        return {
            **batch,
            "input_ids": torch.from_numpy(places.reshape(batch["input_ids"].shape).astype(np.int64)),
            "form_table": torch.tensor([row[0] for row in rows]),
            "form_word": torch.tensor([row[1] for row in rows]),
            "form_characters": torch.from_numpy(pad_arrays([row[2] for row in rows], dtype=np.int64)),
        }

    def pin(self) -> None:
        """Keep the forms seen so far for good: training examples name them by number."""
        self._pinned = len(self._rows)

    def forget(self) -> None:
        """Empty a lexicon that has grown large, but for pinned forms; windows made since pinning are void."""
        if len(self._rows) - self._pinned > _LARGEST_LEXICON:
            self._forms = {word: number for word, number in self._forms.items() if number < self._pinned}
            del self._rows[self._pinned :]

    def _form(self, word: str) -> int:
        number = self._forms.get(word)
        if number is None:
            number = self._forms[word] = len(self._rows)
            kept = word if len(word) <= LONGEST_WORD else word[: LONGEST_WORD - _TAIL] + word[-_TAIL:]
            signs = [self._character_numbers.get(sign, _UNKNOWN) for sign in kept]
            self._rows.append((self.table.number(word), self._word_numbers.get(word.lower(), _UNKNOWN), signs))
        return number


def frequent_words(texts: Iterable[str], at_least: int) -> list[str]:
    """Words in lower case seen `at_least` times, the most frequent first."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text[start:end].lower() for start, end in tokenize(text))
    return sorted((word for word, count in counts.items() if count >= at_least), key=lambda word: (-counts[word], word))


def frequent_characters(texts: Iterable[str], at_least: int = 5) -> str:
    """Characters seen `at_least` times, white space left out, sorted."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return "".join(sorted(sign for sign, count in counts.items() if count >= at_least and not sign.isspace()))
