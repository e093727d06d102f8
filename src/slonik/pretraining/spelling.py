"""Bytes of a text that its tokens cannot give back, and what they cost: [UNK], lost line breaks, lost capitals.

A vocabulary must not look better for what it throws away. So a text is imagined as sent in two parts: its tokens, which
the model guesses, and the spelling of whatever a reader of the tokens alone would get wrong. Each such stretch is
spelled in a uniform code of 8 bits a byte and ended by the byte FF, which no UTF-8 text holds: n bytes cost 8 (n + 1)
bits. Where a stretch lies is not charged ([UNK] says so itself; for white space and capitals this is in the tokenizer's
favour). The idea of paying for the spelling of unknown words: Ueberla, "Analyzing and Improving Statistical Language
Models for Speech Recognition" (1994, adjusted perplexity); Mielke and Eisner, "Spell Once, Summon Anywhere" (2019).

What tokens give back is read off the vocabulary: the bytes of byte-level tokens, `▁` as a space, the letters of a
WordPiece token. Tokenizers that drop white space get one space between words, and none where Russian and English
typography has none (before a comma, inside brackets, around a hyphen). N tokens of a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from slonik.text.tokenizers.vocabulary import Vocabulary, byte_alphabet, read_vocabulary

BITS_PER_BYTE = 8.0
_SPACE = "\u2581"
_UNKNOWN = "\uffff"  # no text holds it: a noncharacter
_CLOSES = frozenset(".,:;!?%)]}»”…'’-/‐‑")
_OPENS = frozenset("([{«“„'’/#$@")
_HYPHENS = frozenset("-‐‑")
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class Spelled:
    """What one text costs beside its tokens.

    Attributes:
        bits: (N,) charged to each token, for itself and for what was dropped before it.
        tail: for what was dropped behind the last token (of a text without tokens: for everything).
    """

    bits: NDArray[np.float64]
    tail: float

    @property
    def total(self) -> float:
        return float(self.bits.sum()) + self.tail


class Spelling:
    """What the tokens of one tokenizer cannot give back.

    Args:
        tokenizer: raw.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._vocabulary: Vocabulary = read_vocabulary(tokenizer)
        self._unknown = self._vocabulary.unknown
        self._known: dict[int, bytes] = {}

    @cached_property
    def _keeps_spaces(self) -> bool:
        """Whether spaces are parts of tokens."""
        content = self._vocabulary.json
        parts = [content.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")]
        marked = any(_SPACE in str(part) or "Metaspace" in str(part) for part in parts)
        return self._vocabulary.byte_level or marked or content.get("pre_tokenizer") is None

    def of(self, text: str, encoding: Encoding) -> Spelled:
        """The charge for `text`, which `encoding` is the tokens of, without specials around them."""
        ids, offsets = encoding.ids, encoding.offsets
        bits = np.zeros(len(ids))
        start = token = 0
        while token < len(ids):
            # Tokens that share a character (its bytes) give it back together.
            last, end = token, max(start, offsets[token][1])
            while last + 1 < len(ids) and offsets[last + 1][0] < end:
                last += 1
                end = max(end, offsets[last][1])
            given = b"".join(map(self._bytes, ids[token : last + 1])).decode("utf-8", "surrogateescape")
            if not self._keeps_spaces:
                given = self._gap(ids, token, text, start, offsets[token][0]) + given
            elif token == 0 and given.startswith(" ") and not text.startswith(" "):
                given = given[1:]  # the space that a tokenizer puts before a text is no part of it
            bits[last] = charge(given, text[start:end])
            start, token = end, last + 1
        return Spelled(bits, charge("", text[start:]))

    def _gap(self, ids: list[int], token: int, text: str, start: int, first_letter: int) -> str:
        """The white space that is written before a token of a tokenizer that drops it."""
        vocabulary = self._vocabulary
        prefix, suffix = vocabulary.prefix, str(vocabulary.json["model"].get("end_of_word_suffix") or "")
        if start == 0 or (prefix and vocabulary.tokens[ids[token]].startswith(prefix)):
            return ""
        if suffix and token and not vocabulary.tokens[ids[token - 1]].endswith(suffix):
            return ""
        before, after = text[start - 1], text[first_letter : first_letter + 1]
        joins = before in _HYPHENS and start > 1 and text[start - 2].isalnum()  # not a dash between words
        return "" if after in _CLOSES or before in _OPENS or joins else " "

    def _bytes(self, token: int) -> bytes:
        if token not in self._known:
            self._known[token] = self._written(token)
        return self._known[token]

    def _written(self, token: int) -> bytes:
        vocabulary = self._vocabulary
        written = vocabulary.tokens.get(token, _UNKNOWN)
        if token == self._unknown:
            return _UNKNOWN.encode()
        if token in vocabulary.outside:
            return written.encode()
        if vocabulary.byte_level:
            letters = byte_alphabet()
            return bytes(letters[letter] for letter in written if letter in letters)
        if vocabulary.is_byte(token) and (found := _BYTE.fullmatch(written)):
            return bytes([int(found[1], 16)])
        if self._keeps_spaces:
            return written.replace(_SPACE, " ").encode()
        suffix = str(vocabulary.json["model"].get("end_of_word_suffix") or "")
        return written.removeprefix(vocabulary.prefix).removesuffix(suffix).encode()


def charge(given: str, wanted: str) -> float:
    """Bits for spelling what of `wanted` is not `given`: the middle, where beginning and end are right."""
    if given == wanted:
        return 0.0
    front = _common(given, wanted)
    back = _common(given[front:][::-1], wanted[front:][::-1])
    return BITS_PER_BYTE * (1 + byte_count(wanted[front : len(wanted) - back]))


def _common(a: str, b: str) -> int:
    """How many letters both begin with."""
    return next(
        (place for place, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b))
    )


def byte_count(text: str) -> int:
    """UTF-8 bytes; a lone surrogate, which has none, is a question mark."""
    return len(text.encode("utf-8", "replace"))
