"""What an objective must know of a vocabulary: which ids are special, where words begin, what stands for what.

Plain arrays, read off a tokenizer once: objectives never see a tokenizer. V is the size of the vocabulary.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.text.tokenizers.vocabulary import Vocabulary, byte_alphabet, read_vocabulary
from slonik.text.tokenizing import pad_id, special_id

_SENTINEL = re.compile(r"▁?<extra_id_(\d+)>")
_ROLES = ("mask", "bos", "eos", "cls", "sep")
_Bytes: TypeAlias = bytes  # a field of the class below has the type's name


@dataclass(frozen=True)
class TokenFacts:
    """Facts about the ids of one vocabulary.

    Attributes:
        special: (V,) True for ids that are no text: never masked, never put in as a random word.
        starts_word: (V,) True for tokens that begin a word or are no word (punctuation).
        bytes: (V,) UTF-8 bytes of the text that a token stands for, its leading space included; 0 for specials.
        pad: id of padding.
        mask, bos, eos, cls, sep: ids, None where the vocabulary has no such token.
        sentinels: ids of `<extra_id_0>`, `<extra_id_1>`, ... in this order.
        named: every special token by its text: prefixes of denoisers are found here.
        apart: (V,) True for tokens that end in what is no part of a word (punctuation, a line break): the token behind
            them begins a word whatever it looks like. None = no such token.
        parts: id -> bytes of tokens that do not end with a whole character, or begin inside one: what such tokens are
            is seen from several in a row.
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
    apart: NDArray[np.bool_] | None = None
    parts: Mapping[int, _Bytes] = field(default_factory=dict)

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


def token_facts(tokenizer: Tokenizer, names: Mapping[str, str] | None = None, *, rows: int | None = None) -> TokenFacts:
    """The facts of `tokenizer`.

    Args:
        names: special tokens by role ("pad_token" -> "<pad>"), as tokenizer_config.json has them; the usual names
            are looked for where a role is missing.
        rows: rows of the model's embedding table, where it has more than there are tokens; the rest is special.
    """
    vocabulary = read_vocabulary(tokenizer)
    size = max(max(vocabulary.tokens) + 1, rows or 0)
    special = np.ones(size, dtype=np.bool_)
    special[list(vocabulary.tokens)] = False
    special[list(vocabulary.specials)] = True
    # Words added to the vocabulary stand beside the special tokens in the file, and are text.
    words = [each["id"] for each in vocabulary.json["added_tokens"] if not each["special"]]
    special[words] = False
    sentinels = _sentinels(vocabulary)
    special[sentinels] = True
    begins, apart = np.ones(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
    sizes = np.zeros(size, dtype=np.int64)
    for number, token in vocabulary.tokens.items():
        if not special[number]:
            begins[number], apart[number], sizes[number] = _word_facts(token, number, vocabulary)
    parts = {
        number: content
        for number in np.flatnonzero(~special).tolist()
        if (content := _bytes(vocabulary, number)) is not None and not _is_text(content)
    }
    named = {vocabulary.tokens[number]: number for number in vocabulary.specials}
    return TokenFacts(
        special=special,
        starts_word=begins,
        bytes=sizes,
        pad=pad_id(tokenizer, names=names),
        sentinels=tuple(sentinels),
        named=named,
        apart=apart,
        parts=parts,
        **{role: special_id(tokenizer, role, names) for role in _ROLES},
    )


def _sentinels(vocabulary: Vocabulary) -> list[int]:
    """Ids of `<extra_id_0>`, `<extra_id_1>`, ...: added tokens, special or not, or tokens proper (mT5's)."""
    found: dict[int, int] = {}
    for number, token in vocabulary.tokens.items():
        if "<extra_id_" in token and (match := _SENTINEL.fullmatch(token)):
            order = int(match[1])
            if order not in found or number in vocabulary.specials:
                found[order] = number
    return [found[order] for order in sorted(found)]


def _word_facts(token: str, number: int, vocabulary: Vocabulary) -> tuple[bool, bool, int]:
    """Whether a token begins a word (or is none), whether a word ends before its end, and its UTF-8 bytes with the
    leading space."""
    if number in vocabulary.outside:
        return True, _ends_outside(token), len(token.encode()) + 1
    if (content := _bytes(vocabulary, number)) is not None:
        text = content.decode("utf-8", "ignore")
        return text.startswith(" ") or bool(text and not _has_letter(text)), _ends_outside(text), len(content)
    if vocabulary.prefix:
        inside = token.startswith(vocabulary.prefix)
        text = token.removeprefix(vocabulary.prefix)
        return not inside, _ends_outside(text), len(text.encode()) + (not inside and _has_letter(text))
    text = token.replace("▁", " ")
    return text.startswith(" ") or not _has_letter(text), _ends_outside(text), len(text.encode())


def _bytes(vocabulary: Vocabulary, number: int) -> bytes | None:
    """What a token of bytes stands for; None for other tokens."""
    if number in vocabulary.outside:
        return None
    token = vocabulary.tokens[number]
    if vocabulary.byte_level:
        letters = byte_alphabet()
        return bytes(letters[letter] for letter in token if letter in letters)
    return bytes([int(token[3:5], 16)]) if vocabulary.is_byte(number) else None


def _is_text(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def outside_words(facts: TokenFacts, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Ranges first .. last - 1 of `ids`, tokens of a part of a character, that together write no letter or digit."""
    found: list[tuple[int, int]] = []
    first, content = 0, b""
    for place, number in enumerate(ids):
        if number not in facts.parts:
            content = b""
            continue
        first = first if content else place
        content += facts.parts[number]
        if _is_text(content):
            if not _has_letter(content.decode()):
                found.append((first, place + 1))
            content = b""
    return found


def _has_letter(text: str) -> bool:
    return any(map(_of_a_word, text))


def _ends_outside(text: str) -> bool:
    """Whether the last character is of no word; a space is of the word behind it."""
    return bool(text) and text[-1] != " " and not _of_a_word(text[-1])


def _of_a_word(character: str) -> bool:
    """Letters, digits, and marks over them (stress)."""
    return character.isalnum() or unicodedata.category(character).startswith("M")
